"""The caller of a request: known by the key that it sends, also if the server needs none."""

from collections.abc import Iterable
from hashlib import sha256

__all__ = ["NO_CALLER", "caller_of"]


def caller_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return a hash of the bearer token, or else of the `x-api-key` header of Claude's clients; both may be missing."""
    found = {name.lower(): value for name, value in headers}
    bearer = found.get(b"authorization", b"").partition(b" ")[2].strip()
    return sha256(bearer or found.get(b"x-api-key", b"").strip()).hexdigest()


NO_CALLER = caller_of([])
