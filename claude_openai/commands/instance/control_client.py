"""Request the control routes of a running server from another process.

The address and the key come from the server's instance files. The requests are plain HTTP from the standard library,
without proxies or redirects. Every failure is an error of one line, to be printed in a terminal.
"""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.instance.record import Instance
from claude_openai.config.addresses import UNIX
from claude_openai.errors import StartError
from claude_openai.file_access import READ_BYTES
from claude_openai.protocol.claude_code.line_framer import LineFramer

__all__ = ["ControlError", "connecting", "error_message", "get_json", "post_json", "stream"]

# A server answers from memory, or from small files.
READ_S: Final = 5.0
# Cancelling waits until the run's process has ended, which takes 6 s at most.
CANCEL_TIMEOUT_S: Final = 15.0


class ControlError(StartError):
    """The server refused a request or did not answer. `status` is the HTTP status, 0 without an answer."""

    def __init__(self, problem: str, status: int = 0, *, hint: str = "") -> None:
        super().__init__(problem, hint=hint)
        self.status = status


def get_json(instance: Instance, path: str, timeout_s: float = READ_S) -> Any:
    """Return the JSON body of a GET.

    Args:
        instance: the server.
        path: path and query of the request.
        timeout_s: time limit for each read from the connection, in seconds.

    Raises:
        ControlError: the server cannot be reached, or answers with an error.
    """
    with _request(instance, "GET", path, timeout_s) as response:
        return _json(response)


def post_json(instance: Instance, path: str) -> Any:
    """POST an empty object and return the JSON body of the answer; raise as `get_json` does."""
    with _request(instance, "POST", path, CANCEL_TIMEOUT_S) as response:
        return _json(response)


@contextmanager
def stream(instance: Instance, path: str, *, is_live: bool, timeout_s: float = READ_S) -> Iterator[Iterator[bytes]]:
    """Yield an iterator of the lines of a GET as they arrive. Both raise as `get_json` does.

    Args:
        instance: the server.
        path: path and query of the request.
        is_live: whether the body may pause for any time, as that of a followed run does.
        timeout_s: time limit for each read from the connection, in seconds.
    """
    with _request(instance, "GET", path, timeout_s, is_live=is_live) as response:
        yield _lines(response, instance, timeout_s)


@contextmanager
def _request(
    instance: Instance, method: str, path: str, timeout_s: float, *, is_live: bool = False
) -> Iterator[http.client.HTTPResponse]:
    headers = {"Authorization": f"Bearer {instance.control_key}", "Content-Type": "application/json"}
    with connecting(instance.base_url, timeout_s) as connection:
        with _translating_errors(instance, timeout_s):
            connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
            stream = connection.sock
            response = connection.getresponse()
            if is_live:
                stream.settimeout(None)
        if response.status >= 400:
            raise ControlError(_reason(response), response.status)
        yield response


@contextmanager
def _translating_errors(instance: Instance, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise _timeout_error(instance, timeout_s) from None
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise ControlError(f"the server at {instance.base_url} does not answer: {reason}") from None


def _timeout_error(instance: Instance, timeout_s: float) -> ControlError:
    return ControlError(
        f"the server (pid {instance.pid}, {instance.base_url}) has not answered for {timeout_s:g} s: it is "
        "overloaded or hangs",
        hint="try again, or stop it with `claude-openai stop`",
    )


def _json(response: http.client.HTTPResponse) -> Any:
    try:
        return json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ControlError(f"cannot read the server's answer: {error}") from None


def _lines(response: http.client.HTTPResponse, instance: Instance, timeout_s: float) -> Iterator[bytes]:
    framer = LineFramer()
    while True:
        try:
            data = response.read1(READ_BYTES)
        except TimeoutError:
            raise _timeout_error(instance, timeout_s) from None
        except (OSError, http.client.HTTPException):
            raise ControlError("the connection to the server was lost") from None
        if not data:
            return
        yield from framer.feed(data)


def _reason(response: http.client.HTTPResponse) -> str:
    try:
        message = error_message(response.read())
    except (OSError, http.client.HTTPException):
        message = ""
    return message or f"the server answers with HTTP status {response.status}"


def error_message(body: bytes) -> str:
    """Return the message of an OpenAI error object in one line, "" for any other body."""
    try:
        return " ".join(str(json.loads(body)["error"]["message"]).split())
    except (ValueError, TypeError, KeyError):
        return ""


@contextmanager
def connecting(url: str, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
    """Yield a connection to a server, closed after the block. It connects at the first request."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "localhost", address.port, timeout=timeout_s)
    if url.startswith(UNIX):
        connection = _UnixConnection(url.removeprefix(UNIX), timeout_s)
    with closing(connection):
        yield connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)
