"""Quick queries of a running server, for commands that must answer at once.

HTTP is written by hand, because `http.client` imports the parsers of e-mail and TLS: a third of the time of a `status`.
A server that does not answer, or not in JSON, is reported as unreachable, not as an error.
"""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.instance.record import Instance
from claude_openai.config.addresses import UNIX
from claude_openai.file_access import READ_BYTES

__all__ = ["UNREACHABLE", "Answers", "ask", "health_of", "models_of"]

UNREACHABLE: Final = "unreachable"
# For all queries together: a server that hangs answers none of them.
TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answers:
    """The state that a server reports.

    Attributes:
        health: status in `GET /health`, "unreachable" if there is no answer in time.
        refusals: reasons why the server would refuse a turn now.
        warnings: other problems of the server.
        login: login of Claude Code in `GET /health`, "" if the server does not report it.
        runs: number of runs by state; None if it was not requested, or there is no answer.
    """

    health: str
    refusals: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    login: str = ""
    runs: dict[str, Any] | None = None


def ask(instance: Instance, *, for_runs: bool = False, timeout_s: float = TIMEOUT_S) -> Answers:
    """Query the health, and with `for_runs` the number of runs; return within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    health = _get(instance, "/health", deadline)
    ready = _get(instance, "/ready", deadline) if health else {}
    claude = health.get("claude")
    runs = _get(instance, "/control/status", deadline) if for_runs else {}
    return Answers(
        str(health.get("status", UNREACHABLE)),
        _messages(ready.get("reasons", ())),
        _messages(ready.get("warnings", ())),
        str(claude.get("login", "")) if isinstance(claude, dict) else "",
        runs or None,
    )


def _messages(found: Any) -> tuple[str, ...]:
    return tuple(str(each.get("message")) for each in found if isinstance(each, dict))


def health_of(instance: Instance) -> str:
    """Return the health alone."""
    return ask(instance).health


def models_of(instance: Instance, api_key: str | None) -> dict[str, Any]:
    """Return the body of `GET /v1/models`; empty if there is no answer in time, or the key is refused."""
    return _get(instance, "/v1/models", time.monotonic() + TIMEOUT_S, key=api_key)


def _get(instance: Instance, path: str, deadline: float, *, key: str | None = None) -> dict[str, Any]:
    where = urlsplit(instance.base_url)
    key = key or instance.control_key
    request = f"GET {path} HTTP/1.0\r\nHost: {where.netloc or 'localhost'}\r\nAuthorization: Bearer {key}\r\n\r\n"
    with contextlib.suppress(OSError, ValueError):
        # The host is an address, never a name: `create_connection` would load the tables of IDNA.
        host = where.hostname or ""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET if host else socket.AF_UNIX
        with socket.socket(family) as connection:
            connection.settimeout(_left(deadline))
            connection.connect((host, where.port or 0) if host else instance.base_url.removeprefix(UNIX))
            connection.sendall(request.encode())
            head, _, body = _read_all(connection, deadline).partition(b"\r\n\r\n")
        answer = json.loads(body)
        # 503 is the answer of a server that is not ready.
        if head.split()[1:2] in ([b"200"], [b"503"]) and isinstance(answer, dict):
            return answer
    return {}


def _read_all(connection: socket.socket, deadline: float) -> bytes:
    """Return all data until the server closes the connection, which it does after an answer of HTTP/1.0."""
    parts: list[bytes] = []
    while True:
        connection.settimeout(_left(deadline))
        part = connection.recv(READ_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _left(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises:
        TimeoutError: it has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
