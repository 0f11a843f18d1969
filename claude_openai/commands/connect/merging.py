"""Putting a client's configuration into a file that has one already: the new text, or why it is left to its owner.

Pure functions of texts. What is not ours stays as it is: a value that the owner chose is kept, a file that cannot be
read back to the same meaning is refused.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from claude_openai.errors import StartError

__all__ = ["MergeRefused", "merged"]

_INDENT: Final = re.compile(r"^\{\s*?\n([ \t]+)\"")


class MergeRefused(StartError):
    """The file must be changed by hand; the text says why, in one line."""


def merged(form: str, old: str, wanted: str, own: Sequence[str]) -> tuple[str, list[str]]:
    """The text of the file with our part in it.

    Args:
        form: "json", "toml" or "yaml".
        old: what is there, "" for nothing.
        wanted: our part, a text that is complete in itself.
        own: the keys that lead to the part that is ours alone.

    Returns:
        The text, `old` itself if all is there; and the dotted names of values that the owner chose otherwise.

    Raises:
        MergeRefused: it cannot be done safely.
    """
    if not old.strip():
        return wanted, []
    return _FORMS[form](old, wanted, own)


def _json(old: str, wanted: str, own: Sequence[str]) -> tuple[str, list[str]]:
    try:
        there = json.loads(old, object_pairs_hook=_without_twins, parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise MergeRefused(f"it is not plain JSON that can be written back unchanged ({error})") from None
    if not isinstance(there, dict):
        raise MergeRefused("it holds no JSON object")
    kept: list[str] = []
    new = _joined(there, json.loads(wanted), own, (), kept)
    if new == there:
        return old, kept
    indent = _INDENT.match(old)
    text = json.dumps(new, indent=indent[1] if indent else 2, ensure_ascii=not _is_encodable(new))
    return text + ("\n" if old.endswith("\n") else ""), kept


def _joined(
    there: Mapping[str, Any], wanted: Mapping[str, Any], own: Sequence[str], path: tuple[str, ...], kept: list[str]
) -> dict[str, Any]:
    """Both; where they differ ours counts inside of our own part, and the owner's elsewhere."""
    result = dict(there)
    for key, value in wanted.items():
        here = (*path, key)
        if key not in there:
            result[key] = value
        elif isinstance(value, dict) and isinstance(there[key], dict):
            result[key] = _joined(there[key], value, own, here, kept)
        elif there[key] != value:
            if here[: len(own)] == tuple(own):
                result[key] = value
            elif isinstance(value, dict):
                raise MergeRefused(f"{'.'.join(here)} is no object in it")
            else:
                kept.append(".".join(here))
    return result


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_float(text: str) -> float:
    value = float(text)
    if repr(value) != text:
        raise ValueError(f"the number {text} would be written another way")
    return value


def _is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _toml(old: str, wanted: str, own: Sequence[str]) -> tuple[str, list[str]]:
    try:
        there = tomllib.loads(old)
    except ValueError as error:
        raise MergeRefused(f"it is not valid TOML ({error})") from None
    ours = tomllib.loads(wanted)
    value: Any = there
    for key in own:
        value = value.get(key) if isinstance(value, dict) else None
    if value == _at(ours, own):
        return old, []
    if value is not None:
        raise MergeRefused(f"the table [{'.'.join(own)}] is there with other values")
    new = old + ("" if old.endswith("\n") else "\n") + "\n" + wanted
    try:
        is_same = tomllib.loads(new) == _joined(there, ours, own, (), [])
    except ValueError:
        is_same = False
    if not is_same:
        raise MergeRefused(f"the table [{'.'.join(own)}] cannot be added at its end")
    return new, []


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value[key]
    return value


def _yaml(old: str, wanted: str, own: Sequence[str]) -> tuple[str, list[str]]:
    # Without a parser nothing but our own text can be told from the owner's.
    if f"\n{wanted}" in f"\n{old.rstrip()}\n":
        return old, []
    raise MergeRefused("it is a YAML file with something in it, which is changed by hand")


_FORMS: Final[Mapping[str, Callable[[str, str, Sequence[str]], tuple[str, list[str]]]]] = {
    "json": _json,
    "toml": _toml,
    "yaml": _yaml,
}
