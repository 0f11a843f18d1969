"""The ids of requests."""

import uuid
from typing import Final

__all__ = ["new_request_id"]

# pi asks Claude once more where an error contains 429, 500, 502, 503 or 504, and Claude's form of an error has the id.
_DIGITS: Final = str.maketrans("09", "gh")


def new_request_id() -> str:
    """Return a random id in which no client finds a status."""
    return f"req_{uuid.uuid4().hex.translate(_DIGITS)}"
