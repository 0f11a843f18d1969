"""Counts the values in a JSON text before it is parsed: `json.loads` holds the interpreter lock until it is done.

A limited number of values cannot take long to parse; strings are read at the speed of memory.
"""

import re
from typing import Final

__all__ = ["MAX_VALUES", "field_in_excess", "has_many_marks", "marks"]

# Of a body. Each of its values is several tokens to Claude, whose longest context is a million.
MAX_VALUES: Final = 250_000

_MARKS: Final = ",:[{"
_TOKEN: Final = re.compile(r'[",:\[\]{}]')
# In pieces, so that no one call takes long.
_PIECE_OF_STRING: Final = re.compile(r'(?:[^"\\]++|\\.){1,10000}+', re.DOTALL)


def marks(text: str) -> int:
    """How many signs that come with a value, or the name of one, are in a text, in its strings too."""
    return sum(map(text.count, _MARKS))


def has_many_marks(body: bytes) -> bool:
    """Whether more than `MAX_VALUES` of those signs are in a text in UTF-8: without them it has no more values."""
    # Half the time of four counts: one pass, however many there are.
    return len(body) > MAX_VALUES and len(body) - len(body.translate(None, _MARKS.encode())) > MAX_VALUES


def field_in_excess(text: str) -> str | None:
    """The field of a JSON object, as it is spelled, with which it has more than `MAX_VALUES` values and names.

    None if it has not; "" if what is in excess stands in no field. Slow: for a text that `has_many_marks`.
    """
    count = depth = at = 0
    name, last = "", slice(0)
    while (found := _TOKEN.search(text, at)) is not None:
        mark, at = found[0], found.end()
        if mark == '"':
            last = slice(at, _end_of_string(text, at))
            at = last.stop + 1
        elif mark in "]}":
            depth -= 1
        else:
            count += 1
            if mark == ":" and depth == 1:
                name = text[last]
            elif mark in "[{":
                depth += 1
        if count > MAX_VALUES:
            return name
    return None


def _end_of_string(text: str, at: int) -> int:
    """Where the quote stands that ends the string, or where it cannot go on."""
    while (piece := _PIECE_OF_STRING.match(text, at)) is not None:
        at = piece.end()
    return at
