"""Merge a client's configuration into the data of its file, and undo that. Pure functions of parsed data.

A list whose items have names (`Items`) is treated as a mapping, so that the item that was added is found again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claude_openai.commands.connect.documents import MergeRefused, Opaque

__all__ = ["Items", "Keys", "Unmerged", "Written", "merge", "shown", "unmerge"]

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list of a client's configuration.

    Attributes:
        path: the path of keys of the list.
        identity: the paths inside an item whose values together are its name.
    """

    path: Keys
    identity: tuple[Keys, ...]

    def as_mapping(self, data: Any) -> Any:
        """Return the data with the list replaced by a mapping from `[name]` to item."""
        return _replaced(data, self.path, lambda value: self._named(value) if isinstance(value, list) else value)

    def as_list(self, data: Any) -> Any:
        """Return the data with the mapping of `as_mapping` replaced by the list."""
        return _replaced(data, self.path, lambda value: list(value.values()) if isinstance(value, dict) else value)

    def _named(self, items: list[Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for index, item in enumerate(items):
            names = [_at(item, path) for path in self.identity]
            key = f"[{', '.join(names)}]" if all(isinstance(name, str) for name in names) else f"[#{index}]"
            result[f"[#{index}]" if key in result else key] = item
        return result


@dataclass(frozen=True, slots=True)
class Written:
    """A value that was written.

    Attributes:
        path: its path of keys.
        value: the value; {} for a mapping or a list of `Items`, whose content is listed separately.
        is_replaced: whether it replaced another value, `old`.
    """

    path: Keys
    value: Any
    is_replaced: bool = False
    old: Any = None


@dataclass(frozen=True, slots=True)
class Unmerged:
    """The data after the removal, and the paths of the values that were removed, restored, or left to the user."""

    data: dict[str, Any]
    removed: list[Keys]
    restored: list[Keys]
    left: list[Keys]


def merge(there: Any, wanted: Mapping[str, Any], own: Keys) -> tuple[dict[str, Any], list[Written], list[Keys]]:
    """Add `wanted` to the data.

    Args:
        there: the data of the file.
        wanted: the data that the client needs.
        own: the path of keys of the part in which `wanted` replaces existing values; elsewhere they are kept.

    Returns:
        The new data; the values that were written; the paths of existing values that differ and were kept.

    Raises:
        MergeRefused: an existing value is not a mapping where `wanted` has one, or could not be restored.
    """
    if not isinstance(there, dict):
        raise MergeRefused("its data is not of the type that the client reads")
    written: list[Written] = []
    kept: list[Keys] = []
    return _merge(there, wanted, own, (), written, kept), written, kept


def _merge(
    there: dict[str, Any], wanted: Mapping[str, Any], own: Keys, at: Keys, written: list[Written], kept: list[Keys]
) -> dict[str, Any]:
    result = dict(there)
    for key, value in wanted.items():
        path = (*at, key)
        if key not in there:
            result[key] = value
            written.extend(Written(*each) for each in _leaves(path, value))
        elif isinstance(value, dict) and isinstance(there[key], dict):
            result[key] = _merge(there[key], value, own, path, written, kept)
        elif there[key] == value:
            continue
        elif isinstance(value, dict) and there[key] is not None:
            raise MergeRefused(f"{shown(path)} is not an object or a list")
        elif path[: len(own)] == own or isinstance(value, dict):
            if _holds_opaque(there[key]):
                raise MergeRefused(f"{shown(path)} has a value that could not be restored")
            result[key] = value
            (_, first), *rest = _leaves(path, value)
            written.append(Written(path, first, True, there[key]))
            written.extend(Written(*each) for each in rest)
        else:
            kept.append(path)
    return result


def unmerge(there: Any, written: Sequence[Written]) -> Unmerged:
    """Remove the written values from the data, except for those that were changed since."""
    if not isinstance(there, dict):
        raise MergeRefused("its data is not of the type that the client reads")
    result = Unmerged(_copied(there), [], [], [])
    for each in sorted(written, key=lambda each: -len(each.path)):
        *parents, key = each.path
        parent = _at(result.data, parents)
        if not isinstance(parent, dict) or key not in parent:
            continue
        if parent[key] == each.value:
            if each.is_replaced:
                parent[key] = each.old
            else:
                del parent[key]
            (result.restored if each.is_replaced else result.removed).append(each.path)
        elif each.value != {}:
            result.left.append(each.path)
        else:
            found = [path for path, value in _leaves(each.path, parent[key]) if value != {} or path == each.path]
            result.left.extend(path for path in found[1:] or found if path not in result.left)
    return result


def shown(path: Sequence[str]) -> str:
    """Return a path in the form for messages: `models[Claude Code].apiBase`."""
    return "".join(key if key.startswith("[") or not index else f".{key}" for index, key in enumerate(path))


def _leaves(path: Keys, value: Any) -> Iterator[tuple[Keys, Any]]:
    """Yield path and value of all values inside a value; a mapping comes before its content, as {}."""
    yield path, {} if isinstance(value, dict) else value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves((*path, str(key)), item)


def _at(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _replaced(data: Any, path: Keys, change: Any) -> Any:
    if not path:
        return change(data)
    if not isinstance(data, dict) or path[0] not in data:
        return data
    return {**data, path[0]: _replaced(data[path[0]], path[1:], change)}


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _holds_opaque(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_opaque(key) or _holds_opaque(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(_holds_opaque, value))
    return isinstance(value, Opaque | float)
