"""JSON Schemas of the lines of a cassette."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, get_args

from claude_openai.cassettes.entry import Failed
from claude_openai.protocol.turn.events import FinishReason, Usage

__all__ = ["FORMAT", "HEADER", "TURN", "problem_of"]

FORMAT: Final = 1
SHOWN_CHARS: Final = 200
ENDS: Final = ("finish_reason", "error", "cancelled")

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": [*required], "properties": properties, "additionalProperties": False}


_PASSAGE: Final = _object(
    {"type": _TEXT, "text": _TEXT},
    {"deltas": {"type": "array", "items": {"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2}}},
)
_CALL: Final = _object({"type": _TEXT, "id": _TEXT, "name": _TEXT, "arguments": {"type": "object"}}, {"ms": _COUNT})
_BLOCK: Final = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["text", "thinking", "tool_call"]}},
    "if": {"properties": {"type": {"const": "tool_call"}}},
    "then": _CALL,
    "else": _PASSAGE,
}
_ERROR_TYPES: Final = {
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "type": _TEXT,
    "code": {"type": ["string", "null"]},
    "message": _TEXT,
    "param": {"type": ["string", "null"]},
    "retry_after_s": {"type": ["integer", "null"]},
    "may_retry": {"type": "boolean"},
}
_ANSWER: Final = _object(
    {"content": {"type": "array", "items": _BLOCK}},
    {
        "model": _TEXT,
        "finish_reason": {"enum": [*get_args(FinishReason)]},
        "usage": _object({field.name: _COUNT for field in fields(Usage)}),
        "error": _object({field.name: _ERROR_TYPES[field.name] for field in fields(Failed)}),
        "cancelled": {"const": True},
        "ms": _COUNT,
    },
)
_ANSWER["dependentRequired"] = {"finish_reason": ["usage"], "usage": ["finish_reason"]}

HEADER: Final = _object({"cassette": {"const": FORMAT}, "program": _TEXT})
TURN: Final = _object({"request": _object({"path": _TEXT, "body": {"type": "object"}}), "answer": _ANSWER})


def problem_of(line: Any, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with a parsed line, "" if nothing is."""
    from jsonschema import Draft202012Validator  # imported only by those who read a cassette
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(line))
    if error is not None:
        where = error.json_path.removeprefix("$").removeprefix(".")
        problem = error.message if len(error.message) <= SHOWN_CHARS else f"{error.message[:SHOWN_CHARS]}..."
        return f"{where}: {problem}" if where else problem
    if schema is TURN and sum(name in line["answer"] for name in ENDS) != 1:
        return f"answer: expected one of {', '.join(ENDS)}"
    return ""
