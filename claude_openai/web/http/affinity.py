"""The key by which a load balancer sends the requests of a conversation to one replica, for the log.

It is for balancers only: which conversation a request continues is decided by its messages alone.
"""

from collections.abc import Iterable
from typing import Final

from claude_openai.web.http.caller import NO_CALLER

__all__ = ["AFFINITY_HEADERS", "affinity_of"]

# The first of them in a request counts; without any, the caller's key.
AFFINITY_HEADERS: Final = (
    "x-session-affinity",
    "x-opencode-session",
    "x-session-id",
    "session-id",
    "x-claude-code-session-id",
    "x-litellm-session-id",
)
MAX_CHARS: Final = 128
HASH_CHARS: Final = 8


def affinity_of(headers: Iterable[tuple[bytes, bytes]], caller: str) -> str | None:
    """Return `NAME: VALUE` of the header that counts, `key: HASH` for the caller's key, None without either."""
    found = {name.lower(): value for name, value in headers}
    for name in AFFINITY_HEADERS:
        value = found.get(name.encode())
        if value:
            return f"{name}: {value.decode('latin-1')[:MAX_CHARS]}"
    return None if caller == NO_CALLER else f"key: {caller[:HASH_CHARS]}"
