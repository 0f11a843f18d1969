"""Finds and describes the differences between two JSON values."""

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final, NamedTuple

__all__ = ["Difference", "differences"]

SHOWN_CHARS: Final = 80
# Characters shown before the first difference of two long texts.
CONTEXT_CHARS: Final = 20


class _Absent:
    pass


_ABSENT: Final = _Absent()


class Difference(NamedTuple):
    """One difference, at a path like `messages[2].content`."""

    path: str
    recorded: Any
    now: Any

    def __str__(self) -> str:
        recorded, now = self.recorded, self.now
        at = 0
        if isinstance(recorded, str) and isinstance(now, str):
            pairs = enumerate(zip(recorded, now, strict=False))
            at = next((index for index, (one, other) in pairs if one != other), min(len(recorded), len(now)))
        return f"{self.path}: recorded {_shown(recorded, at)}, now {_shown(now, at)}"


def differences(recorded: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """Yield the differences in order, each as deep in the value as possible; none for equal JSON.

    true and 1 differ. So do 1.0 and 1, unless the caller has converted whole numbers.
    """
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*recorded, *now)):
            place = f"{path}.{key}" if path else str(key)
            yield from differences(recorded.get(key, _ABSENT), now.get(key, _ABSENT), place)
    elif isinstance(recorded, list) and isinstance(now, list):
        for index, (one, other) in enumerate(zip_longest(recorded, now, fillvalue=_ABSENT)):
            yield from differences(one, other, f"{path}[{index}]")
    elif type(recorded) is not type(now) or recorded != now:
        yield Difference(path, recorded, now)


def _shown(value: Any, at: int) -> str:
    if isinstance(value, _Absent):
        return "nothing"
    if isinstance(value, str):
        return _excerpt(value, at)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text)} characters of JSON)"


def _excerpt(text: str, at: int) -> str:
    if len(text) <= SHOWN_CHARS:
        return json.dumps(text, ensure_ascii=False)
    start = max(0, at - CONTEXT_CHARS)
    part = text[start : start + SHOWN_CHARS]
    before, after = "…" if start else "", "…" if start + SHOWN_CHARS < len(text) else ""
    return f"{before}{json.dumps(part, ensure_ascii=False)}{after} ({len(text)} characters)"
