"""Bodies of requests as an attacker, or a client gone wrong, would send them: the same for the same seed.

Most begin as a good request, in which something is put where it does not belong. Some ask for much work in few bytes,
each in a way that once held the server up.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

__all__ = ["CHAT", "COMPLETIONS", "MESSAGES", "RESPONSES", "hostile_bodies"]

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"

MAX_BYTES: Final = 1024 * 1024

_DRAFTS: Final = (
    *(f"http://json-schema.org/draft-0{number}/schema#" for number in (3, 4, 6, 7)),
    *(f"https://json-schema.org/draft/{year}/schema" for year in ("2019-09", "2020-12")),
)
_TEXTS: Final = (
    *("", " ", "a", "Hi", "#", "#/$defs/a", "#a", "#/properties/a/0", "object", "string", "function", "auto", "none"),
    *("http://[", "http://127.0.0.1:9/", "file:///etc/passwd", "../..", "/", "\x00", "é", "\U0001f600", "x" * 5000),
    *("^(a|aa)+$", "(", "[", "a{1000000000}", "((a{999}){999}){999}", "(?:a?){99999}", "\\", "(?R)", "{{", "%00"),
    *("user", "system", "assistant", "tool", "json_schema", "item_reference", "1e999", "NaN", *_DRAFTS),
)
_KEYWORDS: Final = (
    *("type", "properties", "required", "enum", "const", "items", "prefixItems", "anyOf", "oneOf", "allOf", "not"),
    *("if", "then", "else", "$ref", "$defs", "$id", "id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef"),
    *("pattern", "patternProperties", "additionalProperties", "propertyNames", "uniqueItems", "minimum", "multipleOf"),
    *("dependencies", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "contains", "format", "$schema"),
    *("extends", "disallow", "divisibleBy", "definitions", "description", "default", "a", "b"),
)
_FIELDS: Final = (
    *(
        "model",
        "messages",
        "input",
        "prompt",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
    ),
    *(
        "response_format",
        "text",
        "stop",
        "max_tokens",
        "max_output_tokens",
        "n",
        "temperature",
        "reasoning",
        "metadata",
    ),
    *("reasoning_effort", "claude", "user", "store", "include", "instructions", "parallel_tool_calls", "logit_bias"),
    *("previous_response_id", "max_output_tokens"),
    *("role", "content", "name", "parameters", "arguments", "tool_calls", "tool_call_id", "id", "type", "call_id"),
)


def hostile_bodies(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many bodies, each with the path that it is sent to."""
    for number in range(count):
        chance = Random(f"{seed} {number}")
        path = chance.choice((CHAT, COMPLETIONS, RESPONSES, MESSAGES))
        yield path, _body(chance, path)


def _body(chance: Random, path: str) -> bytes:
    asked = _good(chance)
    if path == COMPLETIONS:
        asked["prompt"] = chance.choice(("Hi", ["Hi"]))
    kind = chance.random()
    if kind < 0.15:
        _offer(asked, chance.choice(_HEAVY)(chance), chance)
    elif kind < 0.3:
        _offer(asked, _schema(chance, 4), chance)
    elif kind < 0.4:
        asked["messages"] = asked["input"] = _calls(chance)
    asked = json.loads(json.dumps(asked))  # so that no two places are one
    for _ in range(chance.randrange(4)):
        _damage(asked, chance)
    raw = json.dumps(asked, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return (_cut(raw, chance) if kind > 0.9 else raw)[:MAX_BYTES]


def _good(chance: Random) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": "claude-sonnet",
        "messages": [{"role": "user", "content": "Hi"}],
        "input": "Hi",
        "stream": chance.random() < 0.3,
    }
    if chance.random() < 0.5:
        _offer(asked, {"type": "object", "properties": {"a": {"type": "string"}}}, chance)
    if chance.random() < 0.2:
        asked["claude"] = {"toolMode": "disabled", "effort": "low"}
    return asked


def _offer(asked: dict[str, Any], schema: Any, chance: Random) -> None:
    """Put a schema where one may stand, for each of the APIs."""
    function = {"name": "look", "parameters": schema}
    form = {"name": "answer", "schema": schema}
    if chance.random() < 0.3:
        asked["response_format"] = {"type": "json_schema", "json_schema": form}
        asked["text"] = asked["output_config"] = {"format": {"type": "json_schema", **form}}
    elif chance.random() < 0.2:
        asked["functions"] = [function]
    else:
        named = [{**function, "name": f"look_{number}"} for number in range(3)]
        asked["tools"] = [{"type": "function", "function": each, **each} for each in named]
        if chance.random() < 0.3:
            asked["tools"] = [{"type": "custom", "name": each["name"], "input_schema": schema} for each in named]


def _schema(chance: Random, depth: int) -> Any:
    schema: dict[str, Any] = {}
    for _ in range(chance.randrange(1, 4)):
        schema[chance.choice(_KEYWORDS)] = (
            _schema(chance, depth - 1) if depth and chance.random() < 0.6 else _any(chance)
        )
    return schema


def _any(chance: Random, depth: int = 3) -> Any:
    """Any value, of any type."""
    match chance.randrange(12 if depth else 8):
        case 0 | 1 | 2:
            return chance.choice(_TEXTS)
        case 3:
            return chance.choice((0, 1, -1, 2**63, 10**400, 0.5, 1e308, -0.0))
        case 4:
            return chance.choice((True, False))
        case 5:
            return None
        case 6:
            return chance.choice(("\ud800", "a\udfff", "\ud83d\ude00"))
        case 7:
            return chance.choice(([], {}, [[]], [{}], {"": ""}))
        case 8 | 9:
            return [_any(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(_FIELDS + _KEYWORDS): _any(chance, depth - 1) for _ in range(chance.randrange(4))}


def _damage(asked: dict[str, Any], chance: Random) -> None:
    """Put some value in some place, take one away, or put one in many times."""
    places: list[tuple[Any, Any]] = [(asked, name) for name in (*asked, chance.choice(_FIELDS))]
    for holder, key in places:
        value = holder.get(key) if isinstance(holder, dict) else holder[key]
        inner = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        places.extend((value, each) for each in list(inner)[:20])
        if len(places) > 200:
            break
    holder, key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
        case 1:
            value = holder[key] if isinstance(holder, list) else holder.get(key)
            holder[key] = [value] * (2 if len(str(value)) > 200 else chance.choice((2, 130, 2000)))
        case 2:
            holder[key] = _nested(chance.choice((50, 300, 2000)), chance)
        case _:
            holder[key] = _any(chance)


def _nested(depth: int, chance: Random) -> Any:
    value: Any = _any(chance)
    key = chance.choice(("a", "properties", "not", "items", "input"))
    as_list = chance.random() < 0.5
    # No deeper than this interpreter can write.
    for _ in range(min(depth, 400)):
        value = [value] if as_list else {key: value}
    return value


def _calls(chance: Random) -> list[dict[str, Any]]:
    """A history with calls and results that may not fit, in the form of either API."""
    count = chance.choice((1, 3, 300))
    ids = [f"call_{number if chance.random() < 0.9 else 0}" for number in range(count)]
    arguments = chance.choice(
        ("{}", "", "[" * 600 + "]" * 600, '{"a":' * 600 + "1" + "}" * 600, "[" + "1," * 9999 + "1]")
    )
    results = ids[::-1] if chance.random() < 0.5 else ids
    if chance.random() < 0.5:
        return [
            {"role": "user", "content": "Hi"},
            *({"type": "function_call", "call_id": each, "name": "look", "arguments": arguments} for each in ids),
            *({"type": "function_call_output", "call_id": each, "output": "x"} for each in results),
        ]
    function = {"name": "look", "arguments": arguments}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [{"id": each, "type": "function", "function": function} for each in ids]},
        *({"role": "tool", "tool_call_id": each, "content": "x"} for each in results),
    ]


def _cut(raw: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + chance.choice((b"", b"\xff", b"\\ud800", b'"', b"}", b"[" * 3000, b"1," * 3000)) + raw[at + 1 :]


def _heavy(size: int, make: Callable[[int], Any]) -> Callable[[Random], Any]:
    return lambda chance: make(chance.randrange(1, size))


def _doubling(levels: int) -> dict[str, Any]:
    below = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**below, f"l{levels}": {"type": "object"}}}


# Each takes the most of it.
_HEAVY: Final[tuple[Callable[[Random], Any], ...]] = (
    _heavy(3000, lambda n: {"properties": {"a": {"type": [{"a": each} for each in range(n)]}}}),
    _heavy(
        3000,
        lambda n: {"$schema": _DRAFTS[1], "properties": {"a": {"enum": [[each, {"a": each}] for each in range(n)]}}},
    ),
    _heavy(3000, lambda n: {"properties": {f"a{each}": {} for each in range(n)}}),
    _heavy(3000, lambda n: {"anyOf": [{}] * n}),
    _heavy(3000, lambda n: {"oneOf": [{"type": "string"}] * n}),
    _heavy(3000, lambda n: {"anyOf": [{"properties": {f"a{each}": {}}} for each in range(n)]}),
    _heavy(60, _doubling),
    _heavy(
        500,
        lambda n: {
            "properties": {f"a{each}": {"$ref": f"#a{each}"} for each in range(n)},
            "$defs": {f"a{each}": {"$anchor": f"a{each}"} for each in range(n)},
        },
    ),
    _heavy(3000, lambda n: {"patternProperties": {f"^(a|aa)+{each}$": {} for each in range(n)}}),
    _heavy(3000, lambda n: {"properties": {"a": {"pattern": f"a{{{10**6 + n}}}"}}}),
    _heavy(3000, lambda n: {"properties": {"a": {"pattern": "(a|b)*" * n}}}),
)
