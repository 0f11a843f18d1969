"""Small questions to a running server, for commands that must answer at once.

It speaks HTTP itself, because `http.client` brings the parsers of e-mail and TLS: a third of the time of a `status`.
Knows the control key; a server that does not answer, or not in JSON, is no error here.
"""

import contextlib
import json
import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.instance import Instance

__all__ = ["UNREACHABLE", "health_of", "runs_of"]

UNREACHABLE: Final = "unreachable"
TIMEOUT_S: Final = 2.0
CHUNK_BYTES: Final = 64 * 1024


def health_of(instance: Instance) -> str:
    """What `GET /health` says, "unreachable" if it says nothing within 2 s."""
    answer = _asked(instance, "/health")
    return str(answer.get("status", UNREACHABLE))


def runs_of(instance: Instance) -> dict[str, Any] | None:
    """How many runs there are, by state; None if the server does not tell."""
    return _asked(instance, "/control/status") or None


def _asked(instance: Instance, path: str) -> dict[str, Any]:
    where = urlsplit(instance.base_url)
    request = f"GET {path} HTTP/1.0\r\nHost: {where.netloc}\r\nAuthorization: Bearer {instance.control_key}\r\n\r\n"
    with contextlib.suppress(OSError, ValueError):
        # An address, never a name: `create_connection` would bring the tables of international ones.
        host, port = where.hostname or "", where.port or 0
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect((host, port))
            connection.sendall(request.encode())
            head, _, body = _received(connection).partition(b"\r\n\r\n")
        answer = json.loads(body)
        if head.split()[1:2] == [b"200"] and isinstance(answer, dict):
            return answer
    return {}


def _received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, which HTTP/1.0 does after its answer."""
    parts = []
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and (part := connection.recv(CHUNK_BYTES)):
        parts.append(part)
    return b"".join(parts)
