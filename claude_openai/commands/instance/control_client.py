"""The control routes of a server that runs, asked from another process.

Plain HTTP to the address that its files tell, with the key that they hold: no proxy, no redirect, nothing but the
standard library. Every failure is one line for the person at the shell. Knows no route.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.instance.record import Instance
from claude_openai.errors import StartError
from claude_openai.file_access import READ_BYTES
from claude_openai.protocol.claude_code.line_framer import LineFramer

__all__ = ["ControlError", "connecting", "error_message", "get_json", "post_json", "stream"]

# A server answers from memory, or reads small files.
READ_S: Final = 5.0
# Cancelling waits for the run's process to be gone, which takes 6 s at most.
CANCEL_TIMEOUT_S: Final = 15.0


class ControlError(StartError):
    """The server said no, or said nothing. `status` is HTTP's, 0 if it said nothing."""

    def __init__(self, problem: str, status: int = 0, *, hint: str = "") -> None:
        super().__init__(problem, hint=hint)
        self.status = status


def get_json(instance: Instance, path: str) -> Any:
    """The JSON of a GET.

    Raises:
        ControlError: the server cannot be reached, or answers an error.
    """
    with _asked(instance, "GET", path, READ_S) as response:
        return _json(response)


def post_json(instance: Instance, path: str) -> Any:
    """The JSON of a POST with an empty object; raises as `get_json` does."""
    with _asked(instance, "POST", path, CANCEL_TIMEOUT_S) as response:
        return _json(response)


@contextmanager
def stream(instance: Instance, path: str, *, is_live: bool) -> Iterator[Iterator[bytes]]:
    """The lines of a GET as they come, for the block; raises as `get_json` does, from the iterator too.

    Args:
        instance: whom to ask.
        path: what for.
        is_live: once it has begun to answer it may say nothing for as long as it likes.
    """
    with _asked(instance, "GET", path, READ_S, is_live=is_live) as response:
        yield _lines(response, instance)


@contextmanager
def _asked(
    instance: Instance, method: str, path: str, timeout_s: float, *, is_live: bool = False
) -> Iterator[http.client.HTTPResponse]:
    headers = {"Authorization": f"Bearer {instance.control_key}", "Content-Type": "application/json"}
    with connecting(instance.base_url, timeout_s) as connection:
        with _told(instance, timeout_s):
            connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
            stream = connection.sock
            response = connection.getresponse()
            if is_live:
                stream.settimeout(None)
        if response.status >= 400:
            raise ControlError(_reason(response), response.status)
        yield response


@contextmanager
def _told(instance: Instance, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise _hangs(instance, timeout_s) from None
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise ControlError(f"the server at {instance.base_url} does not answer: {reason}") from None


def _hangs(instance: Instance, timeout_s: float) -> ControlError:
    return ControlError(
        f"the server (pid {instance.pid}, {instance.base_url}) has not answered for {timeout_s:g} s: it is very busy, "
        "or hangs",
        hint="try again, or end it with `claude-openai stop`",
    )


def _json(response: http.client.HTTPResponse) -> Any:
    try:
        return json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ControlError(f"the server's answer cannot be read: {error}") from None


def _lines(response: http.client.HTTPResponse, instance: Instance) -> Iterator[bytes]:
    framer = LineFramer()
    while True:
        try:
            data = response.read1(READ_BYTES)
        except TimeoutError:
            raise _hangs(instance, READ_S) from None
        except (OSError, http.client.HTTPException):
            raise ControlError("the server has gone away") from None
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
    """The text of OpenAI's error object in one line, "" for anything else."""
    try:
        return " ".join(str(json.loads(body)["error"]["message"]).split())
    except (ValueError, TypeError, KeyError):
        return ""


@contextmanager
def connecting(url: str, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
    """A connection to a server, for the block; it is made with the first request."""
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)) as connection:
        yield connection
