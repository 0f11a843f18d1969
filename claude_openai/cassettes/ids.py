"""Replaces ids in requests by names in order of appearance, the same name for the same id.

Ids are replaced only where the APIs have them, never in texts, arguments and results of tools.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

__all__ = ["IdNames", "Rename", "rename_ids"]

Rename: TypeAlias = Callable[[str], str]

_PREFIX: Final = re.compile(r"(call|chatcmpl|fc|fco|msg|resp|rs|toolu)_")
_NUMBERED: Final = re.compile(r"([a-z]+)_(\d{1,9})")
# In a fixed order, so that names do not depend on the order of keys.
_OF_ITEMS: Final = ("id", "call_id", "tool_call_id")
_OF_PARTS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}


class IdNames:
    """Names of ids, such as `toolu_1` for the first id that begins with `toolu_`; others become `id_1`.

    Args:
        prefixes: False names every id `id_1`, `id_2`, ...
    """

    def __init__(self, *, prefixes: bool = True) -> None:
        self._prefixes = prefixes
        self._names: dict[str, str] = {}
        self._last: Counter[str] = Counter()

    def __call__(self, original: str) -> str:
        name = self._names.get(original)
        if name is None:
            found = _PREFIX.match(original) if self._prefixes else None
            prefix = found[1] if found else "id"
            self._last[prefix] += 1
            name = self._names[original] = f"{prefix}_{self._last[prefix]}"
        return name

    def reserve(self, name: str) -> str:
        """Do not use a name for a new id, because it is in the file already. Return it."""
        if numbered := _NUMBERED.fullmatch(name):
            self._last[numbered[1]] = max(self._last[numbered[1]], int(numbered[2]))
        return name


def rename_ids(body: Mapping[str, Any], rename: Rename) -> dict[str, Any]:
    """Return the body of a request with other ids of messages, items, calls and the previous response."""
    renamed = {
        key: [_item(each, rename) for each in value] if key in ("messages", "input") and _is_list(value) else value
        for key, value in body.items()
    }
    return {**renamed, **_renamed(body, ("previous_response_id",), rename)}


def _item(item: Any, rename: Rename) -> Any:
    if not isinstance(item, dict):
        return item
    renamed = {**item, **_renamed(item, _OF_ITEMS, rename)}
    if _is_list(item.get("tool_calls")):
        renamed["tool_calls"] = [_with(call, ("id",), rename) for call in item["tool_calls"]]
    if _is_list(item.get("content")):
        renamed["content"] = [_part(part, rename) for part in item["content"]]
    return renamed


def _part(part: Any, rename: Rename) -> Any:
    key = _OF_PARTS.get(str(part.get("type"))) if isinstance(part, dict) else None
    return part if key is None else _with(part, (key,), rename)


def _with(holder: Any, keys: tuple[str, ...], rename: Rename) -> Any:
    return {**holder, **_renamed(holder, keys, rename)} if isinstance(holder, dict) else holder


def _renamed(holder: Mapping[str, Any], keys: tuple[str, ...], rename: Rename) -> dict[str, str]:
    return {key: rename(holder[key]) for key in keys if isinstance(holder.get(key), str) and holder[key]}


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
