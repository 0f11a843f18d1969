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
        # A table of its own at the end disturbs nothing, if TOML allows it there.
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
    return f"[{'.'.join(tomlkit.key(str(key)).as_string() for key in path)}]\n{tomlkit.dumps(value)}"


def _delete(text: str, path: Path) -> str:
    try:
        document = tomlkit.parse(text)
        at: Any = document
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        return document.as_string()
    except (TOMLKitError, ValueError, KeyError, TypeError):
        raise MergeRefused(f"{'.'.join(map(str, path))} cannot be removed") from None


TOML: Final = Form("TOML", _parse, _put, _delete)
