"""Requests to the running server on trio: follow its stream of events, and cancel runs.

The address and the key come from the server's instance files, as in `control_client`, which is synchronous.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import h11
import trio

from claude_openai.commands.instance.control_client import CANCEL_TIMEOUT_S, READ_S, ControlError, error_message
from claude_openai.commands.instance.record import Instance
from claude_openai.config.addresses import UNIX
from claude_openai.file_access import READ_BYTES

__all__ = ["EventReader", "cancel_run", "follow"]

PATH: Final = "/control/watch"
# The server sends a comment every 15 s.
SILENCE_S: Final = 40.0


async def follow(instance: Instance, take: Callable[[str, Mapping[str, Any]], None]) -> None:
    """Read the events of the server until it ends the stream.

    Args:
        instance: the server.
        take: is called with the name and the object of each event.

    Raises:
        ControlError: the server cannot be reached, refuses the request, or is silent for `SILENCE_S` seconds.
    """
    reader = EventReader()
    async with _request(instance, "GET", PATH) as connection:
        while data := await connection.read(SILENCE_S):
            for name, value in reader.feed(data):
                take(name, value)


async def cancel_run(instance: Instance, run_id: str) -> str:
    """Cancel a run, and return its state.

    Raises:
        ControlError: the run has ended, or the server cannot be reached.
    """
    async with _request(instance, "POST", f"/control/runs/{run_id}/cancel", CANCEL_TIMEOUT_S) as connection:
        body = b""
        while data := await connection.read(CANCEL_TIMEOUT_S):
            body += data
    try:
        return str(json.loads(body)["status"])
    except (ValueError, TypeError, KeyError):
        raise ControlError("cannot read the server's answer") from None


class EventReader:
    """Reads server-sent events whose data are JSON objects."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the name and the object of each event that is complete. Others are left out.

        Args:
            data: the next bytes of the stream, which has only LF as line ends.
        """
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            fields = dict(line.partition(b":")[::2] for line in event.split(b"\n"))
            try:
                value = json.loads(fields.get(b"data", b""))
            except ValueError:
                continue
            if isinstance(value, dict):
                yield fields.get(b"event", b"").decode().strip(), value


class _Connection:
    """A connection with one request.

    Args:
        instance: the server, for messages.
        stream: the connection.
    """

    def __init__(self, instance: Instance, stream: trio.SocketStream) -> None:
        self._instance = instance
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def start(self, method: str, path: str, timeout_s: float) -> None:
        headers = [
            ("Host", urlsplit(self._instance.base_url).netloc or "localhost"),
            ("Authorization", f"Bearer {self._instance.control_key}"),
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ]
        body = b"{}" if method == "POST" else b""
        if body:
            headers.append(("Content-Length", str(len(body))))
        request = self._http.send(h11.Request(method=method, target=path, headers=headers)) or b""
        request += (self._http.send(h11.Data(body)) or b"") if body else b""
        await self._stream.send_all(request + (self._http.send(h11.EndOfMessage()) or b""))
        answer = await self._next(timeout_s)
        if isinstance(answer, h11.Response) and answer.status_code >= 400:
            reason = error_message(await self.read(timeout_s))
            status = answer.status_code
            raise ControlError(reason or f"the server answers with HTTP status {status}", status)

    async def read(self, timeout_s: float) -> bytes:
        """Return the next bytes of the body, b"" at its end.

        Args:
            timeout_s: limit of the wait, in seconds.
        """
        event = await self._next(timeout_s)
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _next(self, timeout_s: float) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            with trio.fail_after(timeout_s):
                self._http.receive_data(await self._stream.receive_some(READ_BYTES))
        return event


@asynccontextmanager
async def _request(instance: Instance, method: str, path: str, timeout_s: float = READ_S) -> AsyncIterator[_Connection]:
    """Send a request, and yield the connection once the server has accepted it. Errors become ControlErrors."""
    address = urlsplit(instance.base_url)
    try:
        with trio.fail_after(READ_S):
            if address.hostname:
                stream = await trio.open_tcp_stream(address.hostname, address.port or 0)
            else:
                stream = await trio.open_unix_socket(instance.base_url.removeprefix(UNIX))
        async with stream:
            connection = _Connection(instance, stream)
            await connection.start(method, path, timeout_s)
            yield connection
    except trio.TooSlowError:
        raise ControlError(f"the server (pid {instance.pid}, {instance.base_url}) does not answer in time") from None
    except (OSError, trio.BrokenResourceError):
        raise ControlError(f"the server at {instance.base_url} does not answer") from None
    except h11.RemoteProtocolError:
        raise ControlError("the connection to the server was lost") from None
