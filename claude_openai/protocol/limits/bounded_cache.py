"""A cache that is bounded by the total size of its values."""

from typing import Final, Generic, TypeVar

__all__ = ["Kept"]

T = TypeVar("T")

# Counted at least for each entry, which bounds the number of entries.
MIN_SIZE: Final = 1024


class Kept(Generic[T]):
    """The most recently used values, keyed by text.

    Safe in several threads without a lock, because each step is one operation on a dict.

    Args:
        max_size: the largest total size, in the unit of the sizes passed to `put`.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._entries: dict[str, tuple[T, int]] = {}

    def get(self, key: str) -> T | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._entries[key] = entry  # now the most recently used
        return entry[0]

    def put(self, key: str, value: T, size: int) -> None:
        """Store a value and drop the least recently used ones. A value that is too large is not stored."""
        if size > self._max_size:
            return
        self._entries[key] = (value, max(size, MIN_SIZE))
        entries = list(self._entries.items())
        excess = sum(size for _, (_, size) in entries) - self._max_size
        for oldest, (_, its_size) in entries:
            if excess <= 0:
                return
            self._entries.pop(oldest, None)
            excess -= its_size
