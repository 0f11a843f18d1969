"""Keeps answers that have ended, within bounds of number, size and time; the oldest are dropped first."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import trio

__all__ = ["ANSWER_BYTES", "KEPT_S", "KeptAnswers"]

MAX_ANSWERS: Final = 1000
MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 3600.0
# What an answer takes besides its frames.
ANSWER_BYTES: Final = 4096

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    size: int
    until: float


class KeptAnswers(Generic[K, T]):
    """Answers by their names.

    Args:
        max_answers: the largest number of answers.
        max_bytes: the largest size of all of them.
    """

    def __init__(self, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._kept: OrderedDict[K, _Kept[T]] = OrderedDict()
        self._size = 0

    def put(self, name: K, value: T, size: int) -> None:
        """Keep an answer whose frames have this size, in place of an earlier one of the name."""
        self.drop(name)
        kept = _Kept(value, size + ANSWER_BYTES, trio.current_time() + KEPT_S)
        self._kept[name] = kept
        self._size += kept.size
        self._drop_old()

    def get(self, name: K) -> T | None:
        self._drop_old()
        kept = self._kept.get(name)
        return None if kept is None else kept.value

    def drop(self, name: K) -> None:
        kept = self._kept.pop(name, None)
        self._size -= 0 if kept is None else kept.size

    def clear(self) -> int:
        """Drop all answers; return how many there were."""
        count = len(self._kept)
        self._kept.clear()
        self._size = 0
        return count

    def _drop_old(self) -> None:
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            fits = len(self._kept) <= self._max_answers and self._size <= self._max_bytes
            if fits and trio.current_time() < kept.until:
                return
            self.drop(name)
