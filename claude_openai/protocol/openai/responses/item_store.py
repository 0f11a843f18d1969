"""Stores the items of recent answers, for requests that refer to them by id.

The AI SDK sends the client's messages in full and ours as an `item_reference`, unless it is configured with
`store: false`. Items are kept in memory, within bounds; the oldest are dropped first. A request that refers to a
dropped item gets an error with the advice to send the item.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MAX_STORED_CHARS", "ItemStore", "item_chars"]

MAX_ITEMS: Final = 4096
MAX_STORED_CHARS: Final = 16 * 1024 * 1024


class ItemStore:
    """Finished messages and calls by their ids; a caller finds only its own.

    Args:
        max_items: the largest number of items.
        max_chars: the largest number of characters of all items.
    """

    def __init__(self, max_items: int = MAX_ITEMS, max_chars: int = MAX_STORED_CHARS) -> None:
        self._max_items = max_items
        self._max_chars = max_chars
        self._items: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._chars = 0

    def remember(self, item: Mapping[str, Any], caller: str) -> None:
        """Store an item of an answer, except reasoning, which requests may omit."""
        if item["type"] == "reasoning":
            return
        self.forget(item["id"], caller)
        self._items[caller, item["id"]] = item
        self._chars += item_chars(item)
        while len(self._items) > self._max_items or self._chars > self._max_chars:
            oldest = next(iter(self._items))
            self._chars -= item_chars(self._items.pop(oldest))

    def recall(self, item_id: str, caller: str) -> Mapping[str, Any] | None:
        return self._items.get((caller, item_id))

    def forget(self, item_id: str, caller: str) -> None:
        found = self._items.pop((caller, item_id), None)
        if found is not None:
            self._chars -= item_chars(found)

    def clear(self) -> int:
        """Drop all items; return how many there were."""
        count = len(self._items)
        self._items.clear()
        self._chars = 0
        return count


def item_chars(item: Mapping[str, Any]) -> int:
    """Return the number of characters in the texts of an item, or in the arguments of a call."""
    return len(item.get("arguments", "")) + sum(
        len(part.get("text", "")) + len(part.get("refusal", "")) for part in item.get("content", ())
    )
