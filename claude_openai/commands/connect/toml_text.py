"""TOML: parsed by the standard library, changed by tomlkit, which keeps the rest of the text."""

import datetime
import re
import tomllib
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from claude_openai.commands.connect.documents import Form, InvalidText, MergeRefused, Opaque, Path, position

__all__ = ["TOML"]

_PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_HEADER: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)


def _parse(text: str) -> Any:
    try:
        return _plain(tomllib.loads(text)) or None
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.fullmatch(str(error))
        problem = found[1] if found else str(error)
        line, column = (int(found[2]), int(found[3])) if found and found[2] else position(text, len(text))
        raise InvalidText("TOML", line, column, problem) from None
    except RecursionError:
        raise MergeRefused("not valid TOML: nested too deeply") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float | datetime.datetime | datetime.date | datetime.time):
        return Opaque(type(value).__name__, str(value))
    return value


def _put(text: str, path: Path, value: Any) -> str:
    if isinstance(value, dict):
        # A table at the end leaves the rest of the text as it is; TOML does not allow it in every file.
        added = text + ("" if not text or text.endswith("\n") else "\n") + "\n" + _tables(path, value)
        try:
            tomllib.loads(added)
        except tomllib.TOMLDecodeError:
            pass
        else:
            return added
    return _changed(text, path, value)


def _changed(text: str, path: Path, value: Any) -> str:
    try:
        document = tomlkit.parse(text)
        at: Any = document
        for key in path[:-1]:
            at = at[key]
        if isinstance(value, dict):
            table = tomlkit.inline_table()
            table.update(value)
            value = table
        at[path[-1]] = value
        return document.as_string()
    except (TOMLKitError, ValueError, KeyError, TypeError):
        raise MergeRefused(f"{'.'.join(map(str, path))} cannot be changed") from None


def _tables(path: Path, value: dict[str, Any]) -> str:
    if value and all(isinstance(item, dict) for item in value.values()):
        return "\n".join(_tables((*path, key), item) for key, item in value.items())
    return f"[{_dotted(path)}]\n{tomlkit.dumps(value)}"


def _dotted(path: Path) -> str:
    return ".".join(tomlkit.key(str(key)).as_string() for key in path)


def _delete(text: str, path: Path) -> str:
    expected: Any = tomllib.loads(text)
    parent = expected
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    header = rf"^[ \t]*\[{re.escape(_dotted(path))}(?:\.[^\]\n]+)?\].*\n?"
    for found in re.finditer(header, text, re.MULTILINE):
        without = _without_table(text, found.start(), found.end())
        try:
            if tomllib.loads(without) == expected:
                return without
        except tomllib.TOMLDecodeError:
            continue  # that header is inside a string
    try:
        document = tomlkit.parse(text)
        at: Any = document
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        return document.as_string()
    except (TOMLKitError, ValueError, KeyError, TypeError):
        raise MergeRefused(f"{'.'.join(map(str, path))} cannot be removed") from None


def _without_table(text: str, start: int, end: int) -> str:
    """Return the text without a table; tomlkit would also remove the comments after it."""
    following = _HEADER.search(text, end)
    at = end
    for line in text[end : following.start() if following else len(text)].splitlines(keepends=True):
        at += len(line)
        if line.strip() and not line.lstrip().startswith("#"):
            end = at
    if text[:start].endswith("\n\n"):
        start -= 1  # the empty line before the table
    return text[:start] + text[end:]


TOML: Final = Form("TOML", _parse, _put, _delete)
