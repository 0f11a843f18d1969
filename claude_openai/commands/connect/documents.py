"""Change the data of a configuration file's text, and keep the rest of the text.

Pure functions of texts. Each form (`json_text`, `yaml_text`, `toml_text`) parses a text, and changes one value of it.
`rewrite` determines the values to change, and parses the text after each change: it fails if other data changed too.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.errors import StartError

__all__ = ["Form", "InvalidText", "MergeRefused", "Opaque", "Path", "position", "rewrite"]

Path = tuple[str | int, ...]
_BOM: Final = "\ufeff"
_ABSENT: Final = object()


class MergeRefused(StartError):
    """The file cannot be changed automatically; the text is the reason, in one line."""


class InvalidText(MergeRefused):
    """The text cannot be parsed; the message has line and column, both counted from 1."""

    def __init__(self, form: str, line: int, column: int, problem: str) -> None:
        super().__init__(f"not valid {form} at line {line}, column {column}: {problem}")


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that is compared but never written: a date, a float, an alias or an unknown tag."""

    tag: str
    text: str


@dataclass(frozen=True, slots=True)
class Form:
    """The functions of one form of text.

    Attributes:
        name: its name in messages.
        parse: returns the data of a text; None if it has none, such as a file of comments only.
        put: returns the text with another value at a path; the path's last element may be new.
        delete: returns the text without the value at a path.
        edits_lists: whether the items of a list can be changed one by one; otherwise the whole list is replaced.
    """

    name: str
    parse: Callable[[str], Any]
    put: Callable[[str, Path, Any], str]
    delete: Callable[[str, Path], str]
    edits_lists: bool = False


def position(text: str, index: int) -> tuple[int, int]:
    """Return the line and column of an index, both counted from 1."""
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def rewrite(form: Form, text: str, target: Any, whole: str = "") -> str:
    """Return the text with `target` as its data.

    Args:
        form: the form of the text.
        text: the text; it may have a byte order mark, and LF or CRLF.
        target: the data that the result has.
        whole: a text with the data `target`, which is appended to a text without data.

    Raises:
        MergeRefused: the text is invalid, or a value cannot be changed without changing other data.
    """
    bom, text = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    is_crlf = "\r\n" in text and text.count("\r\n") == text.count("\n")
    if is_crlf:
        text = text.replace("\r\n", "\n")
    new = _rewritten(form, text, target, whole)
    return bom + (new.replace("\n", "\r\n") if is_crlf else new)


def _rewritten(form: Form, text: str, target: Any, whole: str) -> str:
    now = form.parse(text)
    if now is None and target:
        separator = "" if not text.strip() or text.endswith("\n") else "\n"
        text = (text if text.strip() else "") + separator + whole
        now = form.parse(text)
        if now != target:
            raise MergeRefused("the configuration cannot be appended to it")
    while (now or None) != (target or None):
        path, value = _difference(form, now, target, ())
        expected = _applied(now, path, value)
        try:
            text = form.delete(text, path) if value is _ABSENT else form.put(text, path, value)
            now = form.parse(text)
        except InvalidText:
            now = _ABSENT
        if (now or None) != (expected or None):
            raise MergeRefused(f"{'.'.join(map(str, path))} cannot be changed without changing other data")
    return text


def _difference(form: Form, now: Any, target: Any, path: Path) -> tuple[Path, Any]:
    """Return the path of the first value to change, and the new value (`_ABSENT` to delete it)."""
    if isinstance(now, dict) and isinstance(target, dict):
        for key in now:
            if key not in target:
                return (*path, key), _ABSENT
        for key, value in target.items():
            if key not in now:
                return (*path, key), value
            if now[key] != value:
                return _difference(form, now[key], value, (*path, key))
    if form.edits_lists and isinstance(now, list) and isinstance(target, list):
        if len(target) < len(now):
            for index in range(len(now)):
                if index >= len(target) or now[index] != target[index]:
                    return (*path, index), _ABSENT
        for index, value in enumerate(target):
            if index == len(now):
                return (*path, index), value
            if now[index] != value:
                return _difference(form, now[index], value, (*path, index))
    if not path:
        raise MergeRefused("its data is not of the type that the client reads")
    return path, target


def _applied(now: Any, path: Path, value: Any) -> Any:
    result = deepcopy(now)
    at = result
    for key in path[:-1]:
        at = at[key]
    if value is _ABSENT:
        del at[path[-1]]
    elif isinstance(at, list) and path[-1] == len(at):
        at.append(value)
    else:
        at[path[-1]] = value
    return result
