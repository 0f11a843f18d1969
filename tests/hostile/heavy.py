"""The bodies that held the server up for longest, as large as they may be, and the largest honest one."""

import json
from collections.abc import Iterator
from typing import Any

from tests.hostile.bodies import CHAT

__all__ = ["heavy_bodies", "honest_tool"]

DRAFT_4 = "http://json-schema.org/draft-04/schema#"


def honest_tool(number: int) -> dict[str, Any]:
    """A tool of 6 KiB; servers of many tools have 128 of them."""
    kinds: list[dict[str, Any]] = [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False},
        {"$ref": "#/$defs/Node"},
    ]
    properties = {
        f"p{each}": {
            **kinds[(each + number) % 6],
            "description": f"The parameter {each} of the tool, and what it does.",
        }
        for each in range(47)
    }
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "properties": properties, "$defs": {"Node": node}}
    return {"type": "function", "function": {"name": f"tool_{number}", "parameters": schema}}


def heavy_bodies() -> Iterator[tuple[str, bytes]]:
    """Each with the path that it is sent to; every other one is honest, and new."""
    for number, body in enumerate(_heavy()):
        tools = [honest_tool(each) for each in range(128)]
        tools[0]["function"]["parameters"]["title"] = f"not read before: {number}"
        yield CHAT, _body(tools=tools)
        yield CHAT, body


def _heavy() -> Iterator[bytes]:
    yield _with(_doubling(40))
    yield _body(tools=[_tool({**_doubling(13), "title": str(each)}, f"tool_{each}") for each in range(8)])
    yield _with({"properties": {"a": {"type": [{"a": each} for each in range(20_000)]}}})
    yield _with({"$schema": DRAFT_4, "properties": {"a": {"enum": [[each, {"a": each}] for each in range(20_000)]}}})
    yield _with({"properties": {f"a{each}": {} for each in range(50_000)}})
    for keyword in ("anyOf", "oneOf", "allOf"):
        yield _with({keyword: [{"type": "object"}] * 50_000})
    anchors = {f"a{each}": {"$anchor": f"a{each}"} for each in range(20_000)}
    yield _with({"properties": {f"a{each}": {"$ref": f"#a{each}"} for each in range(20_000)}, "$defs": anchors})
    properties = {f"a{each}": honest_tool(1)["function"]["parameters"]["properties"]["p0"] for each in range(8000)}
    form = {"name": "answer", "schema": {"properties": properties, "$defs": {"Node": {}}}}
    yield _body(response_format={"type": "json_schema", "json_schema": form})
    ids = [f"call_{each}" for each in range(20_000)]
    yield _history(ids, ids[::-1])
    yield _history(["call_0"] * 20_000, ["call_0"] * 20_000)
    yield _history(ids, [])
    yield b'{"model": "claude", "messages": [' + b'{"role":"user","content":"x"},' * 45_000 + b"{}]}"
    yield b'{"model": "claude", "messages": [' + b"1," * 15_000_000 + b"1]}"
    yield b'{"model": "claude", "messages": [' + b'"",' * 10_000_000 + b"1]}"
    for text in (b"x", b"\\n", b"\\u0430", "ж".encode(), b",", b" "):
        content = b'"' + text * (32_000_000 // len(text)) + b'"'
        yield b'{"model": "claude", "messages": [{"role": "user", "content": ' + content + b"}]}"


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "claude", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()


def _tool(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def _with(schema: dict[str, Any]) -> bytes:
    return _body(tools=[_tool(schema, "look")])


def _doubling(levels: int) -> dict[str, Any]:
    below = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**below, f"l{levels}": {"type": "object"}}}


def _history(called: list[str], answered: list[str]) -> bytes:
    calls = [{"id": each, "type": "function", "function": {"name": "look", "arguments": "{}"}} for each in called]
    results = [{"role": "tool", "tool_call_id": each, "content": "x"} for each in answered]
    return _body(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": calls}, *results])
