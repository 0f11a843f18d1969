"""Clients whose connections are pipes in memory: the openai package and httpx, on a network of our own.

The HTTP is real: httpcore writes and reads it, and only its network is replaced. The openai package came with httpx
before version 3 and with httpx2 since then; both work. They are imported when a client is made.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from claude_openai.testing.pipes import CLIENT_ADDRESS, SERVER_ADDRESS, Pipe

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["Connect", "Ends", "http_client", "openai_client"]

# The client's ends of a new connection: what it reads, and what it writes.
Ends = tuple[Pipe, Pipe]
Connect = Callable[[], Ends]


def openai_client(connect: Connect | None, url: str, api_key: str, options: dict[str, Any]) -> "openai.AsyncOpenAI":
    """Return a client of the openai package.

    Args:
        connect: opens a connection; None for sockets.
        url: the base URL.
        api_key: the key.
        options: further arguments of `AsyncOpenAI`.

    Raises:
        ImportError: the package is not installed.
    """
    package = _required("openai", "claude.openai()")
    if connect is not None and "http_client" not in options:
        # Since version 3 the package prefers httpx2.
        names = ("httpx2",) if hasattr(package, "DefaultAsyncHttpx2Client") else ("httpx",)
        options = {"http_client": _in_memory(names, connect, timeout=package.DEFAULT_TIMEOUT), **options}
    client: openai.AsyncOpenAI = package.AsyncOpenAI(**{"base_url": url, "api_key": api_key, **options})
    return client


def http_client(connect: Connect | None, url: str, api_key: str, options: dict[str, Any]) -> "httpx2.AsyncClient":
    """Return an `httpx.AsyncClient`, of httpx2 if httpx is not installed.

    Args:
        connect: opens a connection; None for sockets.
        url: the base URL.
        api_key: the key, for the header `Authorization`.
        options: further arguments of `AsyncClient`.

    Raises:
        ImportError: neither is installed.
    """
    headers = {"authorization": f"Bearer {api_key}", **options.pop("headers", {})}
    names = ("httpx", "httpx2")
    options = {"base_url": url, "headers": headers, "trust_env": False, **options}
    if connect is not None and "transport" not in options:
        return _in_memory(names, connect, **options)
    client: httpx2.AsyncClient = _first_of(names).AsyncClient(**options)
    return client


def _in_memory(names: tuple[str, ...], connect: Connect, **options: Any) -> "httpx2.AsyncClient":
    httpx = _first_of(names)
    httpcore = importlib.import_module(httpx.__name__.replace("httpx", "httpcore"))
    # Without certificates, whose loading takes longer than a test.
    transport = httpx.AsyncHTTPTransport(verify=False)
    # The only way to another network (httpx 0.28, httpx2 2.16); `test_clients.py` shows when it is gone.
    transport._pool = httpcore.AsyncConnectionPool(network_backend=_network(httpcore, connect), max_connections=1000)
    client: httpx2.AsyncClient = httpx.AsyncClient(
        **{"transport": transport, "trust_env": False, "follow_redirects": True, **options}
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
