"""All fields of Claude's create-message.

The table corresponds to those of OpenAI's APIs. Fields that are not in it are ignored, as there.
"""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.protocol.anthropic.messages.cache_control import cache_control
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.field_types import (
    Field,
    Use,
    array,
    boolean,
    form,
    integer,
    json_object,
    number,
    one_of,
    only,
    string,
    string_or_object,
)

__all__ = ["EFFORTS", "MESSAGES_FIELDS"]

MAX_STOPS: Final = 64
# The length is limited because each delta is searched for the beginning of a stop sequence at its end.
_STOP: Final = string(1000)
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_THINKING: Final = ("enabled", "adaptive", "between_tools", "disabled")
_CHOICES: Final = ("auto", "any", "tool", "none")
_SCHEMA_FORMAT: Final = "json_schema"


@form({"type": "array", "minItems": 1})
def _messages(param: str, value: Any) -> None:
    array(param, value)
    if not value:
        raise wrong_value(param, "an array with at least one user message")


_TEXT: Final = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
}


@form({"anyOf": [{"type": "string"}, {"type": "array", "items": _TEXT}]})
def _system(param: str, value: Any) -> None:
    if not isinstance(value, (str, list)):
        raise wrong_type(param, "a string or an array of text blocks", value)
    for index, block in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(block, dict):
            raise wrong_type(f"{param}[{index}]", "an object like {'type': 'text', 'text': ...}", block)
        if block.get("type") != "text":
            raise unsupported_value(f"{param}[{index}].type", "Only blocks of type 'text' are supported here.")
        string()(f"{param}[{index}].text", block.get("text"))


@form({"type": "array", "items": _STOP.schema, "maxItems": MAX_STOPS})
def _stop_sequences(param: str, value: Any) -> None:
    array(param, value)
    for index, text in enumerate(value):
        _STOP(f"{param}[{index}]", text)
    if len(value) > MAX_STOPS:
        raise wrong_value(param, f"at most {MAX_STOPS} sequences")


@form({"type": "object", "properties": {"user_id": {"type": ["string", "null"]}}})
def _metadata(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("user_id") is not None:
        string()(f"{param}.user_id", value["user_id"])


@form(
    {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(_CHOICES)}, "disable_parallel_tool_use": {"type": ["boolean", "null"]}},
    }
)
def _tool_choice(param: str, value: Any) -> None:
    json_object(param, value)
    one_of(*_CHOICES)(f"{param}.type", value.get("type"))
    if value.get("disable_parallel_tool_use") is not None:
        boolean(f"{param}.disable_parallel_tool_use", value["disable_parallel_tool_use"])


@form(
    {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(_THINKING)}, "budget_tokens": {"type": ["integer", "null"], "minimum": 1}},
    }
)
def _thinking(param: str, value: Any) -> None:
    json_object(param, value)
    one_of(*_THINKING)(f"{param}.type", value.get("type"))
    if value.get("budget_tokens") is not None:
        integer(1)(f"{param}.budget_tokens", value["budget_tokens"])


@form({"type": "object", "required": ["type"], "properties": {"type": {"const": _SCHEMA_FORMAT}}})
def _format(param: str, value: Any) -> None:
    json_object(param, value)
    one_of(_SCHEMA_FORMAT)(f"{param}.type", value.get("type"))  # its schema is checked in `request`


@form(
    {
        "type": "object",
        "properties": {
            "effort": {"enum": [*EFFORTS, None]},
            "format": {"anyOf": [_format.schema, {"type": "null"}]},
        },
    }
)
def _output_config(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("effort") is not None:
        one_of(*EFFORTS)(f"{param}.effort", value["effort"])
    if value.get("format") is not None:
        _format(f"{param}.format", value["format"])


_NOTHING_LIKE_IT: Final = "'{param}' is not supported: Claude Code has no equivalent. Omit the field."

MESSAGES_FIELDS: Final[Mapping[str, Field]] = {
    "model": Field(Use.HONOURED, string()),
    "messages": Field(Use.HONOURED, _messages),
    "max_tokens": Field(Use.HONOURED, integer(1)),  # may be omitted, for the model's limit
    "system": Field(Use.HONOURED, _system),
    "stream": Field(Use.HONOURED, boolean),
    "stop_sequences": Field(Use.HONOURED, _stop_sequences),
    "tools": Field(Use.HONOURED, array),
    "tool_choice": Field(Use.HONOURED, _tool_choice),
    "thinking": Field(Use.HONOURED, _thinking),  # its budget is ignored
    "output_config": Field(Use.HONOURED, _output_config),
    "output_format": Field(Use.HONOURED, _format),  # the older place of `output_config.format`
    "metadata": Field(Use.HONOURED, _metadata),
    "cache_control": Field(Use.HONOURED, cache_control),  # for its `ttl`: Claude Code itself marks what is to be cached
    "claude": Field(Use.HONOURED, json_object),  # this server's extension; its keys are checked in `claude_options`
    "container": Field(Use.REFUSED, only(string_or_object, (), _NOTHING_LIKE_IT)),
    "mcp_servers": Field(Use.REFUSED, only(array, ([],), _NOTHING_LIKE_IT)),
    "temperature": Field(Use.IGNORED, number(0, 1)),
    "top_p": Field(Use.IGNORED, number(0, 1)),
    "top_k": Field(Use.IGNORED, integer(0)),
    "context_management": Field(Use.IGNORED, json_object),
    "service_tier": Field(Use.IGNORED, one_of("auto", "standard_only")),
    "inference_geo": Field(Use.IGNORED, string()),
    "speed": Field(Use.IGNORED, one_of("standard", "fast")),
    "diagnostics": Field(Use.IGNORED, json_object),
}
