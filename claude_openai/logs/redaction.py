"""Converts any value to plain JSON of bounded size, with its secrets masked, for the log.

Values of keys that are named like secrets, or after such a flag in an argument list, are masked completely. In all
texts, keys included, the spans of `secret_spans` are masked, and the exact secrets passed to the constructor. `None`
and booleans stay, and so do numbers under names like `max_tokens`.

Pure. A secret is not recognized if neither its name nor its shape shows it and it was not passed to the constructor.
"""

import math
import reprlib
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from json import dumps
from pathlib import PurePath
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from claude_openai.logs.secret_spans import NameKind, Span, is_number, kind_of_name, secret_spans

__all__ = ["MASK", "MAX_TEXT", "MIN_SECRET", "Json", "Redactor"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MASK: Final = "[redacted]"
MAX_TEXT: Final = 16 * 1024  # characters of one string
MIN_SECRET: Final = 6  # characters; masking shorter values would damage every record
_MAX_TOTAL_TEXT = 256 * 1024  # characters of all strings in one value
_MAX_KEY = 256
_MAX_CACHED_KEY = 64
_MAX_NODES = 10_000
_MAX_DEPTH = 20
_MAX_INT_BITS = 1024
_MAX_BYTES = 1024 * 1024  # decoded at most; the decoded text is cut again
_MARGIN = 4096  # characters read beyond a cut, so that a secret across it is complete

_SAFE_REPR = reprlib.Repr()  # a repr that never raises
_SAFE_REPR.maxother = sys.maxsize  # its own cut would come before the masking


class Redactor:
    """Turns any value into plain JSON without secrets; never raises, and never changes the value.

    Args:
        secrets: exact values to mask wherever they appear; those shorter than `MIN_SECRET` characters are left out.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = {form for secret in secrets if len(secret) >= MIN_SECRET for form in _forms(secret)}
        self._margin = max([_MARGIN, *map(len, self._secrets)])
        self._known_key = lru_cache(maxsize=512)(self._read_key)

    def __call__(self, value: object) -> Json:
        """Return the value for the log, bounded in depth, in number of values and in length.

        Dataclasses and named tuples become objects like dicts; values that JSON lacks become their masked repr.
        """
        return _Walk(self).value(value, 0)

    def fields(self, fields: dict[str, object]) -> dict[str, Json]:
        """Return the cleaned fields of a record."""
        return _Walk(self).mapping(fields, 0)

    def text(self, text: str, limit: int = MAX_TEXT) -> str:
        """Return the text with secrets masked, cut after `limit` characters with a note of its length."""
        window = text[: limit + self._margin]
        masked = _masked(window, self._spans(window))
        if len(text) <= limit:
            return masked
        if len(window) < len(text):  # its end may be the first half of a secret
            masked = masked[: -self._margin]
        return f"{masked[:limit]}... [clipped: {len(text)} characters]"

    def key(self, key: str) -> tuple[str, NameKind]:
        """Return a key for the log, and what its name implies for its value."""
        return self._known_key(key) if len(key) <= _MAX_CACHED_KEY else self._read_key(key)

    def _read_key(self, key: str) -> tuple[str, NameKind]:
        return self.text(key, _MAX_KEY), kind_of_name(key)

    def _spans(self, text: str) -> list[Span]:
        spans = secret_spans(text)
        for secret in self._secrets:
            at = text.find(secret)
            while at >= 0:
                spans.append((at, at + len(secret)))
                at = text.find(secret, at + 1)
        return spans


def _forms(secret: str) -> set[str]:
    """Return a secret as it appears in JSON, in a repr and in a URL."""
    escaped = {dumps(secret)[1:-1], dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return {secret, quote(secret, safe="", errors="replace"), *escaped}


def _masked(text: str, spans: list[Span]) -> str:
    if not spans:
        return text
    pieces, done = [], -1
    for start, end in sorted(spans):
        if start > done:
            pieces += [text[max(done, 0) : start], MASK]
        done = max(done, end)
    return "".join([*pieces, text[done:]])


def _key_text(key: object) -> str:
    if issubclass(type(key), str):
        return str.__str__(key)
    return key.decode("utf-8", "backslashreplace") if type(key) is bytes else _SAFE_REPR.repr_instance(key, 0)


class _Walk:
    """Cleans one value, within a budget."""

    __slots__ = ("_nodes", "_redactor", "_room")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._nodes = _MAX_NODES
        self._room = _MAX_TOTAL_TEXT

    def value(self, value: object, depth: int) -> Json:
        self._nodes -= 1
        kind = type(value)
        if kind is str:
            return self.text(value)
        if depth > _MAX_DEPTH:
            return "[too deep]"
        # By type and not isinstance(), which asks a value for its __class__ and so runs its code.
        handler = _HANDLERS.get(kind) or next(filter(None, map(_HANDLERS.get, kind.__mro__)), _Walk.other)
        return handler(self, value, depth)

    def text(self, text: Any, _depth: int = 0) -> str:
        shown = self._redactor.text(str.__str__(text), max(0, min(MAX_TEXT, self._room)))
        self._room -= len(shown)
        return shown

    def binary(self, data: bytes | bytearray, _depth: int) -> str:
        shown = self.text(data[:_MAX_BYTES].decode("utf-8", "backslashreplace"))
        return shown if len(data) <= _MAX_BYTES else f"{shown} [of {len(data)} bytes]"

    def integer(self, value: int, _depth: int) -> Json:
        bits = int.bit_length(value)
        return int.__add__(value, 0) if bits <= _MAX_INT_BITS else f"[integer of {bits} bits]"

    def real(self, value: float, _depth: int) -> Json:
        return float.__mul__(value, 1.0) if math.isfinite(value) else float.__repr__(value)

    def mapping(self, value: dict[Any, Any], depth: int, within: NameKind = "plain") -> dict[str, Json]:
        result: dict[str, Json] = {}
        of_value = self._announcement(dict.get(value, "name"), pair=True)  # {"name": "x-api-key", "value": VALUE}
        for key, item in dict.items(value):
            if self._is_spent():
                result["..."] = f"[clipped: {len(value)} keys]"
                break
            shown, kind = self._redactor.key(key if type(key) is str else _key_text(key))
            self._room -= len(shown)
            if kind == "plain":
                kind = of_value if shown == "value" else within
            result[shown] = self._announced(kind, item, depth + 1)
        return result

    def sequence(self, items: list[Any], depth: int) -> Json:
        """Redact a list, an argument list (`--api-key VALUE`), or a header as a pair (`x-api-key`, VALUE)."""
        result: list[Json] = []
        announced: NameKind = "plain"
        for item in items:
            if self._is_spent():
                result.append(f"[clipped: {len(items)} values]")
                break
            result.append(self._announced(announced, item, depth + 1))
            announced = self._announcement(item, pair=len(items) == 2)
        return result

    def tuple_value(self, value: tuple[Any, ...], depth: int) -> Json:
        names = getattr(type(value), "_fields", None)
        items = list(tuple.__iter__(value))
        return (
            self.sequence(items, depth) if names is None else self.mapping(dict(zip(names, items, strict=False)), depth)
        )

    def other(self, value: object, depth: int) -> Json:
        fields = getattr(type(value), "__dataclass_fields__", None)
        if fields is None:
            return self.text(_SAFE_REPR.repr_instance(value, 0))
        return self.mapping({name: getattr(value, name, None) for name in fields if fields[name].repr}, depth)

    def _announced(self, kind: NameKind, value: object, depth: int) -> Json:
        if kind == "plain" or value is None or type(value) is bool:
            return self.value(value, depth)
        if kind == "count":
            if type(value) in (int, float) or (type(value) is str and is_number(value)):
                return self.value(value, depth)
            if type(value) is dict and depth <= _MAX_DEPTH:
                return self.mapping(value, depth, within="count")
        return MASK

    def _announcement(self, item: object, *, pair: bool) -> NameKind:
        """Return what an item implies for the next one."""
        if type(item) is bytes:
            item = item[: _MAX_CACHED_KEY + 1].decode("latin-1")
        if type(item) is not str or len(item) > _MAX_CACHED_KEY or not (pair or item.startswith("-")):
            return "plain"
        return self._redactor.key(item)[1]

    def _is_spent(self) -> bool:
        return self._nodes <= 0 or self._room <= 0


_HANDLERS: dict[type, Callable[[_Walk, Any, int], Json]] = {
    type(None): lambda _walk, value, _depth: value,
    bool: lambda _walk, value, _depth: value,
    int: _Walk.integer,
    float: _Walk.real,
    str: _Walk.text,
    bytes: _Walk.binary,
    bytearray: _Walk.binary,
    dict: _Walk.mapping,
    list: lambda walk, value, depth: walk.sequence(list(list.__iter__(value)), depth),
    tuple: _Walk.tuple_value,
    set: lambda walk, value, depth: walk.sequence(list(set.__iter__(value)), depth),
    frozenset: lambda walk, value, depth: walk.sequence(list(frozenset.__iter__(value)), depth),
    PurePath: lambda walk, value, _depth: walk.text(PurePath.__str__(value)),
}
