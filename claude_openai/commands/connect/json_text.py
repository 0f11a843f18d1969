"""JSON with comments and trailing commas (JSONC): locate each value in a text, and change one of them.

No library for Python keeps the rest of the text: jsonc-edit starts a Node process, json-five writes the whole file
again, and json-with-comments only reads.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.commands.connect.documents import Form, InvalidText, MergeRefused, Path, position

__all__ = ["JSON"]

_SPACE: Final = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null", re.ASCII)
_LEADING: Final = re.compile(r"[ \t]*")


@dataclass(slots=True)
class _Node:
    """A value: its range in the text, its data, and its members if it is an object."""

    start: int
    end: int
    data: Any
    members: dict[str, "_Member"] | None = None


@dataclass(slots=True)
class _Member:
    """A member of an object; `comma` is the index of the comma after it, None if there is none."""

    start: int
    value: _Node
    comma: int | None = None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text

    def document(self) -> _Node | None:
        start = self.skip(0)
        if start == len(self.text):
            return None
        try:
            node = self.value(start)
        except RecursionError:
            raise MergeRefused("not valid JSON: nested too deeply") from None
        if self.skip(node.end) != len(self.text):
            raise self.invalid(self.skip(node.end), "expected the end of the file")
        return node

    def value(self, at: int) -> _Node:
        first = self.text[at : at + 1]
        if first == "{":
            return self.object(at)
        if first == "[":
            return self.array(at)
        if first == '"':
            data, end = self.string(at)
            return _Node(at, end, data)
        word = _WORD.match(self.text, at)
        if word is None:
            raise self.invalid(at, "expected a value")
        try:
            return _Node(at, word.end(), json.loads(word[0]))
        except ValueError:  # a number with more digits than Python converts
            raise self.invalid(at, "the number is too long") from None

    def object(self, start: int) -> _Node:
        members: dict[str, _Member] = {}
        at = self.skip(start + 1)
        while self.text[at : at + 1] != "}":
            if self.text[at : at + 1] != '"':
                raise self.invalid(at, "expected a key in double quotes, or '}'")
            key, end = self.string(at)
            if key in members:
                raise self.invalid(at, f"duplicate key {key!r}")
            colon = self.skip(end)
            if self.text[colon : colon + 1] != ":":
                raise self.invalid(colon, "expected ':'")
            member = members[key] = _Member(at, self.value(self.skip(colon + 1)))
            at, member.comma = self.after(member.value.end, "}")
        return _Node(start, at + 1, {key: member.value.data for key, member in members.items()}, members)

    def array(self, start: int) -> _Node:
        items: list[Any] = []
        at = self.skip(start + 1)
        while self.text[at : at + 1] != "]":
            item = self.value(at)
            items.append(item.data)
            at, _ = self.after(item.end, "]")
        return _Node(start, at + 1, items)

    def after(self, end: int, close: str) -> tuple[int, int | None]:
        """Return the index of the next element or the closing bracket, and that of the comma before it."""
        at = self.skip(end)
        found = self.text[at : at + 1]
        if found == ",":
            return self.skip(at + 1), at
        if found != close:
            raise self.invalid(at, f"expected ',' or '{close}'")
        return at, None

    def string(self, at: int) -> tuple[str, int]:
        try:
            text, end = json.JSONDecoder().raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise InvalidText("JSON", error.lineno, error.colno, error.msg) from None
        return str(text), end

    def skip(self, at: int) -> int:
        space = _SPACE.match(self.text, at)
        return space.end() if space else at

    def invalid(self, at: int, problem: str) -> InvalidText:
        return InvalidText("JSON", *position(self.text, at), problem)


def _parse(text: str) -> Any:
    node = _Scanner(text).document()
    if node is not None and node.members is None:
        raise MergeRefused("it does not contain a JSON object")
    return None if node is None else node.data


def _put(text: str, path: Path, value: Any) -> str:
    parent, key = _parent(text, path)
    assert parent.members is not None  # noqa: S101 - what `_parent` returns
    old = parent.members.get(key)
    unit = _indent_unit(text)
    if old is not None:
        shown = _shown(value, unit, _indent_of(text, old.start))
        return text[: old.value.start] + shown + text[old.value.end :]
    if not parent.members:
        return _put_first(text, parent, key, value, unit)
    last = list(parent.members.values())[-1]
    is_inline = "\n" not in text[parent.start : last.start]
    comma = "" if last.comma is None else ","
    if is_inline:
        at = last.value.end if last.comma is None else last.comma + 1
        member = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        return f"{text[:at]}{'' if comma else ','} {member}{comma}{text[at:]}"
    indent = _indent_of(text, last.start)
    member = f"\n{indent}{json.dumps(key)}: {_shown(value, unit, indent)}{comma}"
    # After the comments that follow the last member, because they belong to it.
    at = max(last.value.end, last.value.end if last.comma is None else last.comma + 1)
    end = at + len(text[at : parent.end - 1].rstrip())
    tail = "" if "\n" in text[end : parent.end] else "\n" + _indent_of(text, parent.start)
    return text[: last.value.end] + ("" if comma else ",") + text[last.value.end : end] + member + tail + text[end:]


def _put_first(text: str, parent: _Node, key: str, value: Any, unit: str) -> str:
    inside = text[parent.start + 1 : parent.end - 1].rstrip()
    outer = _indent_of(text, parent.start)
    member = f"\n{outer}{unit}{json.dumps(key)}: {_shown(value, unit, outer + unit)}\n{outer}"
    return text[: parent.start + 1] + inside + member + text[parent.end - 1 :]


def _delete(text: str, path: Path) -> str:
    parent, key = _parent(text, path)
    assert parent.members is not None  # noqa: S101 - what `_parent` returns
    names = list(parent.members)
    member = parent.members[key]
    before = parent.members[names[names.index(key) - 1]] if key != names[0] else None
    end = member.value.end if member.comma is None else member.comma + 1
    start = member.start
    line = text.rfind("\n", 0, start) + 1
    if not text[line:start].strip():
        start = max(line - 1, 0)
    elif member.comma is not None:
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    else:
        start -= len(text[:start]) - len(text[:start].rstrip(" \t"))
    new = text[:start] + text[end:]
    if member.comma is None and before is not None and before.comma is not None:
        new = new[: before.comma] + new[before.comma + 1 :]
    return new


def _parent(text: str, path: Path) -> tuple[_Node, str]:
    node = _Scanner(text).document()
    for key in path[:-1]:
        assert node is not None and node.members is not None  # noqa: S101, PT018 - the path was found in the same text
        node = node.members[str(key)].value
    assert node is not None  # noqa: S101 - as above
    return node, str(path[-1])


def _shown(value: Any, unit: str, indent: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", "\n" + indent)


def _indent_of(text: str, at: int) -> str:
    found = _LEADING.match(text, text.rfind("\n", 0, at) + 1)
    return found[0] if found else ""


def _indent_unit(text: str) -> str:
    found = re.search(r"^([ \t]+)\"", text, re.MULTILINE)
    return found[1] if found else "  "


JSON: Final = Form("JSON", _parse, _put, _delete)
