"""Small questions to a running server, for commands that must answer at once.

It speaks HTTP itself, because `http.client` brings the parsers of e-mail and TLS: a third of the time of a `status`.
Knows the control key; a server that does not answer, or not in JSON, is no error here.
"""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.instance.record import Instance
from claude_openai.file_access import READ_BYTES

__all__ = ["UNREACHABLE", "Answers", "ask", "health_of", "models_of"]

UNREACHABLE: Final = "unreachable"
# For all questions together: a server that hangs answers none of them.
TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What a server says of itself.

    Attributes:
        health: what `GET /health` says, "unreachable" if it says nothing in time.
        warnings: what keeps it from answering its clients.
        runs: how many there are, by state; None if it does not tell.
    """

    health: str
    warnings: tuple[str, ...]
    runs: dict[str, Any] | None = None


def ask(instance: Instance, *, for_runs: bool = False) -> Answers:
    """Ask for its health, and perhaps its runs; returns within 2 s."""
    deadline = time.monotonic() + TIMEOUT_S
    health = _answer(instance, "/health", deadline)
    claude = health.get("claude")
    is_missing = isinstance(claude, dict) and claude.get("found") is False
    warnings = (str(claude.get("message")),) if isinstance(claude, dict) and is_missing else ()
    runs = _answer(instance, "/control/status", deadline) if for_runs else {}
    return Answers(str(health.get("status", UNREACHABLE)), warnings, runs or None)


def health_of(instance: Instance) -> str:
    """The health alone."""
    return ask(instance).health


def models_of(instance: Instance, api_key: str | None) -> dict[str, Any]:
    """What `GET /v1/models` says; empty if it says nothing in time, or asks for another key."""
    return _answer(instance, "/v1/models", time.monotonic() + TIMEOUT_S, key=api_key)


def _answer(instance: Instance, path: str, deadline: float, *, key: str | None = None) -> dict[str, Any]:
    where = urlsplit(instance.base_url)
    key = key or instance.control_key
    request = f"GET {path} HTTP/1.0\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}\r\n\r\n"
    with contextlib.suppress(OSError, ValueError):
        # An address, never a name: `create_connection` would bring the tables of international ones.
        host, port = where.hostname or "", where.port or 0
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as connection:
            connection.settimeout(_left(deadline))
            connection.connect((host, port))
            connection.sendall(request.encode())
            head, _, body = _received(connection, deadline).partition(b"\r\n\r\n")
        answer = json.loads(body)
        if head.split()[1:2] == [b"200"] and isinstance(answer, dict):
            return answer
    return {}


def _received(connection: socket.socket, deadline: float) -> bytes:
    """All that comes until the other side closes, which HTTP/1.0 does after its answer."""
    parts: list[bytes] = []
    while True:
        connection.settimeout(_left(deadline))
        part = connection.recv(READ_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _left(deadline: float) -> float:
    """
    Raises:
        TimeoutError: no time is left.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
