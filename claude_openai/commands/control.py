"""The control routes of a server that runs, asked from another process.

Plain HTTP to the address that its files tell, with the key that they hold: no proxy, no redirect, nothing but the
standard library. Every failure is one line for the person at the shell. Knows no route.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.instance import Instance
from claude_openai.errors import StartError

__all__ = ["ControlError", "get_json", "post_json", "stream"]

# Cancelling waits for the run's process to be gone, which takes 6 s at most.
TIMEOUT_S: Final = 15.0
READ_BYTES: Final = 64 * 1024


class ControlError(StartError):
    """The server said no, or said nothing. `status` is HTTP's, 0 if it said nothing."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def get_json(instance: Instance, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
    """The JSON of a GET.

    Raises:
        ControlError: the server cannot be reached, or answers an error.
    """
    with _asked(instance, "GET", path, timeout_s) as response:
        return _json(response)


def post_json(instance: Instance, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
    """The JSON of a POST with an empty object; raises as `get_json` does."""
    with _asked(instance, "POST", path, timeout_s) as response:
        return _json(response)


@contextmanager
def stream(instance: Instance, path: str, *, timeout_s: float | None = None) -> Iterator[Iterator[bytes]]:
    """The lines of a GET as they come, for the block; raises as `get_json` does, from the iterator too.

    Args:
        instance: whom to ask.
        path: what for.
        timeout_s: how long it may say nothing, None for ever.
    """
    with _asked(instance, "GET", path, timeout_s) as response:
        yield _lines(response)


@contextmanager
def _asked(instance: Instance, method: str, path: str, timeout_s: float | None) -> Iterator[http.client.HTTPResponse]:
    address = urlsplit(instance.base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {instance.control_key}", "Content-Type": "application/json"}
    try:
        with _told(instance):
            connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
            response = connection.getresponse()
        if response.status >= 400:
            raise ControlError(_reason(response), response.status)
        yield response
    finally:
        connection.close()


@contextmanager
def _told(instance: Instance) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise ControlError(f"the server at {instance.base_url} does not answer: {reason}") from None


def _json(response: http.client.HTTPResponse) -> Any:
    try:
        return json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ControlError(f"the server's answer cannot be read: {error}") from None


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    rest = b""
    while True:
        try:
            data = response.read1(READ_BYTES)
        except (OSError, http.client.HTTPException):
            raise ControlError("the server has gone away") from None
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _reason(response: http.client.HTTPResponse) -> str:
    try:
        return " ".join(str(json.loads(response.read())["error"]["message"]).split())
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return f"the server answers with HTTP status {response.status}"
