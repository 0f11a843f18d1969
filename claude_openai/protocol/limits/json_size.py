"""Counts the values in a JSON text before it is parsed.

`json.loads` holds the interpreter lock until it is done. The number of values bounds its time; strings are read at the
speed of memory.
"""

import re
from typing import Final

__all__ = ["MAX_VALUES", "field_in_excess", "has_many_marks", "marks"]

# Values in a body. Each takes several tokens, and Claude's longest context has a million.
MAX_VALUES: Final = 250_000

_MARKS: Final = ",:[{"
_TOKEN: Final = re.compile(r'[",:\[\]{}]')
# Strings are matched in pieces, to bound the time of each call.
_PIECE_OF_STRING: Final = re.compile(r'(?:[^"\\]++|\\.){1,10000}+', re.DOTALL)


def marks(text: str) -> int:
    """Return the number of characters `,:[{` in a text, an upper bound of its values and names.

    Those within strings are counted too.
    """
    return sum(map(text.count, _MARKS))


def has_many_marks(body: bytes) -> bool:
    """Return whether a text in UTF-8 has more than `MAX_VALUES` of these characters, so may have too many values."""
    # One pass of `translate` takes half the time of four counts.
    return len(body) > MAX_VALUES and len(body) - len(body.translate(None, _MARKS.encode())) > MAX_VALUES


def field_in_excess(text: str) -> str | None:
    """Return the field of a JSON object in which the count of values and names exceeds `MAX_VALUES`.

    The name is returned as spelled in the text; "" if the excess is outside of a field, None if there is no excess.
    This is slow, so call it only for a text that `has_many_marks`.
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
    """Return the index of the closing quote, or of the first character that cannot continue the string."""
    while (piece := _PIECE_OF_STRING.match(text, at)) is not None:
        at = piece.end()
    return at
