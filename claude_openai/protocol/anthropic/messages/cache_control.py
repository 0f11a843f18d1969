"""The lifetime of the prompt cache that a request of Claude's API asks for.

Claude Code itself marks what is to be cached, and gives all its marks one lifetime: the longest that the request has.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast, get_args

from claude_openai.protocol.turn.request import CacheTtl
from claude_openai.protocol.wire.field_types import Form, form, json_object, one_of

__all__ = ["cache_control", "cache_ttl"]

_TTL: Final[Form] = one_of(*get_args(CacheTtl))


@form({"type": "object", "properties": {"ttl": {"enum": [*get_args(CacheTtl), None]}}})
def cache_control(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("ttl") is not None:
        _TTL(f"{param}.ttl", value["ttl"])


def cache_ttl(fields: Mapping[str, Any]) -> CacheTtl | None:
    """Return the longest lifetime of a request's marks; None if no mark has one, which leaves it to Claude Code.

    Args:
        fields: the checked fields, with checked messages and tools.

    Raises:
        BadRequest: a mark is malformed; `param` names it.
    """
    asked = set()
    for where, mark in _marks(fields):
        cache_control(where, mark)
        asked.add(mark.get("ttl"))
    return cast("CacheTtl | None", max(filter(None, asked), key=get_args(CacheTtl).index, default=None))


def _marks(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "cache_control" in fields:
        yield "cache_control", fields["cache_control"]
    for place in ("system", "tools"):
        yield from _marks_in(place, fields.get(place))
    for index, message in enumerate(fields["messages"]):
        yield from _marks_in(f"messages[{index}].content", message.get("content"))


def _marks_in(place: str, content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the marks of blocks, and of the blocks in results of tools."""
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if isinstance(block, dict):
            if block.get("cache_control") is not None:
                yield f"{place}[{index}].cache_control", block["cache_control"]
            if block.get("type") == "tool_result":
                yield from _marks_in(f"{place}[{index}].content", block.get("content"))
