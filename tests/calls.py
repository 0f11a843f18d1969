"""How much work a function causes, counted and not timed: so that it is the same on a busy machine."""

import sys
from collections.abc import Callable
from types import FrameType

__all__ = ["Word", "calls_of"]


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, those of C included."""
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


class Word(str):
    """A text that counts how often texts of its kind are compared.

    Attributes:
        compared: so often.
    """

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Word.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__
