"""YAML: change a value at the place that PyYAML reports for it.

No library keeps the rest of the text: ruamel.yaml keeps comments and order, but wraps and indents all lines again.
PyYAML's marks are exact, so the lines of one value can be changed alone.
"""

from typing import Any, Final

import yaml

from claude_openai.commands.connect.documents import Form, InvalidText, MergeRefused, Opaque, Path, position

__all__ = ["YAML"]

_ALIAS: Final = "alias"
_PLAIN_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null")}


class _Loader(yaml.SafeLoader):
    """Composes nodes. An alias becomes a separate node, so that each node has one place in the text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.aliases: set[str] = set()
        self.anchors_of: dict[int, str] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        is_alias = isinstance(event, yaml.AliasEvent)
        node = super().compose_node(parent, index)  # raises for an unknown alias
        if is_alias:
            self.aliases.add(event.anchor)
            return yaml.ScalarNode(_ALIAS, event.anchor, event.start_mark, event.end_mark)
        if event.anchor is not None:
            self.anchors_of[id(node)] = event.anchor
        return node


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _compose(text: str) -> tuple[Any, _Loader]:
    try:
        loader = _Loader(text)
        return loader.get_single_node(), loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise InvalidText("YAML", line, column, error.problem or str(error)) from None
    except yaml.reader.ReaderError as error:
        raise InvalidText("YAML", *position(text, error.position), error.reason) from None
    except RecursionError:
        raise MergeRefused("not valid YAML: nested too deeply") from None


def _parse(text: str) -> Any:
    node, _ = _compose(text)
    data = None if node is None else _data(node)
    if data is not None and not isinstance(data, dict | list):
        raise MergeRefused("it does not contain a YAML mapping or list")
    return data


def _data(node: Any) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_data(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key, value in node.value:
            name = _data(key) if isinstance(key, yaml.ScalarNode) else Opaque(key.tag, repr(_data(key)))
            if name in result:
                mark = key.start_mark
                raise InvalidText("YAML", mark.line + 1, mark.column + 1, f"duplicate key {key.value!r}")
            result[name] = _data(value)
        return result
    if node.tag not in _PLAIN_TAGS:
        return Opaque(node.tag, node.value)
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, yaml.YAMLError):
        return Opaque(node.tag, node.value)


def _put(text: str, path: Path, value: Any) -> str:
    root, parent = _parent(text, path)
    key = path[-1]
    if isinstance(parent, yaml.SequenceNode):
        index = int(key)
        if index < len(parent.value):
            return _replace(text, parent, parent.value[index], value)
        return _append(text, root, parent, parent.value, [value])
    for name, node in parent.value:
        if _data(name) == key:
            return _replace(text, parent, node, value)
    return _append(text, root, parent, [node for _, node in parent.value], {key: value})


def _replace(text: str, parent: Any, node: Any, value: Any) -> str:
    start, end = node.start_mark.index, _end(node)
    if start == end and isinstance(value, dict | list) and value and not parent.flow_style:
        at = _line_end(text, end)
        return _with_lines(text, at, _block(value, _column(text, _entry_starts(text, parent)[0]) + 2))
    space = " " if start == end else ""
    style = getattr(node, "style", None)
    # Dumped in a list: in a flow collection, a plain scalar with brackets needs quotes.
    shown = _inline([value])[1:-1] if parent.flow_style else _inline(value, style)
    return f"{text[:start]}{space}{shown}{text[end:]}"


def _append(text: str, root: Any, parent: Any, values: list[Any], addition: Any) -> str:
    if parent.flow_style:
        shown = _inline(addition)[1:-1]
        at = _end(values[-1]) if values else _end(parent) - 1
        return f"{text[:at]}{', ' if values else ''}{shown}{text[at:]}"
    at = _line_end(text, _end(parent))
    rest = text[at:]
    if parent is root and all(not line.strip() or line.startswith("#") for line in rest.splitlines()):
        at = len(text)
    return _with_lines(text, at, _block(addition, _column(text, _entry_starts(text, parent)[0])))


def _delete(text: str, path: Path) -> str:
    root, parent = _parent(text, path)
    is_list = isinstance(parent, yaml.SequenceNode)
    values = parent.value if is_list else [value for _, value in parent.value]
    keys = parent.value if is_list else [key for key, _ in parent.value]
    index = int(path[-1]) if is_list else [_data(key) for key in keys].index(path[-1])
    if parent.flow_style:
        start, end = keys[index].start_mark.index, _end(values[index])
        if index + 1 < len(keys):
            end = keys[index + 1].start_mark.index
        elif index:
            start = _end(values[index - 1])
        return text[:start] + text[end:]
    starts = _entry_starts(text, parent)
    start, end = starts[index], _line_end(text, _end(values[index]))
    if len(keys) == 1 and parent is not root:
        return f"{text[:start]}  {'[]' if is_list else '{}'}\n{text[end:]}"
    line = text.rfind("\n", 0, start) + 1
    if not text[line:start].strip():
        return text[:line] + text[end:]
    # The first entry of a list's item is on the line of the dash; the next entry moves there.
    return text[:start] + text[starts[index + 1] :] if index + 1 < len(starts) else text[:start] + text[end:]


def _parent(text: str, path: Path) -> tuple[Any, Any]:
    """Return the root, and the collection that contains the last element of the path.

    Raises:
        MergeRefused: a change there would change the value of an alias elsewhere.
    """
    root, loader = _compose(text)
    node = root
    for key in (None, *path[:-1]):
        if isinstance(node, yaml.SequenceNode) and key is not None:
            node = node.value[int(key)]
        elif key is not None:
            node = next(value for name, value in node.value if _data(name) == key)
        anchor = loader.anchors_of.get(id(node))
        if anchor in loader.aliases:
            raise MergeRefused(f"{path[-1]} would be inside the anchor &{anchor}, which has aliases in the file")
    return root, node


def _entry_starts(text: str, node: Any) -> list[int]:
    if isinstance(node, yaml.MappingNode):
        return [key.start_mark.index for key, _ in node.value]
    return [text.rfind("-", 0, item.start_mark.index) for item in node.value]


def _end(node: Any) -> int:
    """Return the end of a node's text. The end mark of a block collection is after the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    index: int = node.end_mark.index
    return index


def _line_end(text: str, at: int) -> int:
    if at and text[at - 1] == "\n":  # a block scalar includes its newline
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _column(text: str, at: int) -> int:
    return at - (text.rfind("\n", 0, at) + 1)


def _with_lines(text: str, at: int, lines: str) -> str:
    if at and text[at - 1] != "\n":
        return f"{text[:at]}\n{lines.removesuffix(chr(10))}{text[at:]}"
    return text[:at] + lines + text[at:]


def _block(value: Any, indent: int) -> str:
    shown: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True, width=1_000_000
    )
    return "".join(" " * indent + line for line in shown.splitlines(keepends=True))


def _inline(value: Any, style: str | None = None) -> str:
    shown: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        default_style=style if isinstance(value, str) and style in ("'", '"') else None,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return shown.removesuffix("\n").removesuffix("\n...")


YAML: Final = Form("YAML", _parse, _put, _delete, edits_lists=True)
