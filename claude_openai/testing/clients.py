"""Clients of a fake: the openai package and httpx, on sockets or on pipes in memory.

In memory the HTTP is real: httpcore writes and reads it, and only its network is replaced. The openai package came with
httpx before version 3 and with httpx2 since then; both work. They are imported when a client is made.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from claude_openai.testing.pipes import CLIENT_ADDRESS, SERVER_ADDRESS, Pipe

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["Connect", "Ends", "http_client", "openai_client", "sync_http_client", "sync_openai_client"]

_ANY_HTTPX: Final = ("httpx", "httpx2")
# No proxy of the environment, and no certificates, whose loading takes longer than a test.
_LOOPBACK_ONLY: Final = {"trust_env": False, "verify": False}

# The client's ends of a new connection: what it reads, and what it writes.
Ends = tuple[Pipe, Pipe]
Connect = Callable[[], Ends]


def openai_client(connect: Connect, url: str, api_key: str, options: dict[str, Any]) -> "openai.AsyncOpenAI":
    """Return a client of the openai package, in memory.

    Args:
        connect: opens a connection.
        url: the base URL.
        api_key: the key.
        options: further arguments of `AsyncOpenAI`.

    Raises:
        ImportError: the package is not installed.
    """
    package = _required("openai", "claude.openai()")
    if "http_client" not in options:
        http = _in_memory(_httpx_of(package), connect, timeout=package.DEFAULT_TIMEOUT)
        options = {"http_client": http, **options}
    client: openai.AsyncOpenAI = package.AsyncOpenAI(**{"base_url": url, "api_key": api_key, **options})
    return client


def sync_openai_client(url: str, api_key: str, options: dict[str, Any]) -> "openai.OpenAI":
    """Return a client of the openai package for threads, on sockets, that uses no proxy of the environment.

    Args:
        url: the base URL.
        api_key: the key.
        options: further arguments of `OpenAI`.

    Raises:
        ImportError: the package is not installed.
    """
    package = _required("openai", "claude.openai()")
    if "http_client" not in options:
        httpx = _first_of(_httpx_of(package))
        http = httpx.Client(timeout=package.DEFAULT_TIMEOUT, follow_redirects=True, **_LOOPBACK_ONLY)
        options = {"http_client": http, **options}
    client: openai.OpenAI = package.OpenAI(**{"base_url": url, "api_key": api_key, **options})
    return client


def http_client(connect: Connect, url: str, api_key: str, options: dict[str, Any]) -> "httpx2.AsyncClient":
    """Return an `httpx.AsyncClient` in memory, of httpx2 if httpx is not installed.

    Args:
        connect: opens a connection.
        url: the base URL.
        api_key: the key, for the header `Authorization`.
        options: further arguments of `AsyncClient`.

    Raises:
        ImportError: neither is installed.
    """
    return _in_memory(_ANY_HTTPX, connect, **_with_key(url, api_key, options))


def sync_http_client(url: str, api_key: str, options: dict[str, Any]) -> "httpx2.Client":
    """Return an `httpx.Client` on sockets, of httpx2 if httpx is not installed.

    Args:
        url: the base URL.
        api_key: the key, for the header `Authorization`.
        options: further arguments of `Client`.

    Raises:
        ImportError: neither is installed.
    """
    options = {**_LOOPBACK_ONLY, "follow_redirects": True, **_with_key(url, api_key, options)}
    client: httpx2.Client = _first_of(_ANY_HTTPX).Client(**options)
    return client


def _with_key(url: str, api_key: str, options: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}", **options.get("headers", {})}
    return {"base_url": url, **options, "headers": headers}


def _httpx_of(openai: Any) -> tuple[str, ...]:
    # Since version 3 the package prefers httpx2.
    return ("httpx2",) if hasattr(openai, "DefaultAsyncHttpx2Client") else ("httpx",)


def _in_memory(names: tuple[str, ...], connect: Connect, **options: Any) -> "httpx2.AsyncClient":
    httpx: Any = _first_of(names)
    httpcore = importlib.import_module(httpx.__name__.replace("httpx", "httpcore"))

    class Transport(httpx.AsyncHTTPTransport):  # type: ignore[misc]
        def __init__(self) -> None:
            # The only way to another network (httpx 0.28, httpx2 2.16); `test_fake_claude.py` shows when it is gone.
            # httpx's own would also read certificates, which takes longer than a test.
            self._pool = httpcore.AsyncConnectionPool(network_backend=_network(httpcore, connect), max_connections=1000)

    client: httpx2.AsyncClient = httpx.AsyncClient(
        **{"transport": Transport(), "trust_env": False, "follow_redirects": True, **options}
    )
    return client


def _network(httpcore: Any, connect: Connect) -> Any:
    """Return a network backend for this httpcore."""

    class Stream(httpcore.AsyncNetworkStream):  # type: ignore[misc]
        def __init__(self, ends: Ends) -> None:
            self._incoming, self._outgoing = ends

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            with trio.move_on_after(_seconds(timeout)):
                try:
                    return await self._incoming.receive(max_bytes)
                except trio.ClosedResourceError as error:
                    raise httpcore.ReadError(str(error)) from error
            raise httpcore.ReadTimeout

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            with trio.move_on_after(_seconds(timeout)):
                try:
                    await self._outgoing.send(buffer)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise httpcore.WriteError(str(error)) from error
                return
            raise httpcore.WriteTimeout

        async def aclose(self) -> None:
            self._outgoing.close_sender()
            self._incoming.close_receiver()

        def get_extra_info(self, info: str) -> Any:
            found = {"is_readable": self._incoming.readable}
            return {"client_addr": CLIENT_ADDRESS, "server_addr": SERVER_ADDRESS, **found}.get(info)

    class Network(httpcore.AsyncNetworkBackend):  # type: ignore[misc]
        async def connect_tcp(self, host: str, port: int, **_options: Any) -> Stream:
            await trio.lowlevel.checkpoint()
            try:
                return Stream(connect())
            except trio.ClosedResourceError as error:
                raise httpcore.ConnectError(str(error)) from error

        async def sleep(self, seconds: float) -> None:
            await trio.sleep(seconds)

    return Network()


def _seconds(timeout: float | None) -> float:
    return float("inf") if timeout is None else timeout


def _required(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{what} needs the package {name}; install it with: pip install {name}") from error


def _first_of(names: tuple[str, ...]) -> Any:
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return _required(names[-1], "a client in memory")
