"""All fields of OpenAI's create-chat-completion.

`FIELDS` decides for each field whether it is honoured, ignored because the answer is correct without it, or rejected
because the answer would be wrong. Fields that are not in the table are ignored, because clients send many of their own.
"""

from collections.abc import Mapping
from typing import Any, Final, get_args

from claude_openai.protocol.openai.web_search import search_options
from claude_openai.protocol.turn.claude_options import ReasoningEffort
from claude_openai.protocol.turn.request import CacheTtl
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

__all__ = ["FIELDS", "NOTHING_LIKE_IT", "UNSET_WORDS", "read_cache_ttl", "read_effort"]

MAX_STOPS: Final = 4  # the limit of OpenAI's API
# The length is limited because each delta is searched for the beginning of a stop sequence at its end.
_STOP: Final = string(1000)
_STREAM_OPTIONS: Final = ("include_usage", "include_obfuscation")
# Sent by clients for a setting that their user has not set. OpenAI rejects these values; other servers ignore them.
UNSET_WORDS: Final = ("",)
_UNSET_EFFORTS: Final = ("", "default", "auto")
_NO_LIMIT: Final = (-1,)
_IN_MEMORY: Final = ("in_memory", "in-memory")


@form({"type": "array", "minItems": 1})
def _messages(param: str, value: Any) -> None:
    array(param, value)
    if not value:
        raise wrong_value(param, "an array with at least one user message")


@form(
    {
        "type": "object",
        "maxProperties": 16,
        "propertyNames": {"maxLength": 64},
        "additionalProperties": {"type": "string", "maxLength": 512},
    }
)
def _metadata(param: str, value: Any) -> None:
    json_object(param, value)
    if len(value) > 16 or any(len(key) > 64 for key in value):
        raise wrong_value(param, "at most 16 pairs with keys of at most 64 characters")
    for key, text in value.items():
        string(512)(f"{param}.{key}", text)


@form({"type": "object", "additionalProperties": number(-100, 100).schema})
def _logit_bias(param: str, value: Any) -> None:
    json_object(param, value)
    for token, bias in value.items():
        number(-100, 100)(f"{param}.{token[:64]}", bias)


@form({"type": "object", "properties": {key: {"type": ["boolean", "null"]} for key in _STREAM_OPTIONS}})
def _stream_options(param: str, value: Any) -> None:
    json_object(param, value)
    for key in _STREAM_OPTIONS:
        if value.get(key) is not None:
            boolean(f"{param}.{key}", value[key])


@form({"type": "object", "properties": {"effort": {"enum": [*get_args(ReasoningEffort), *_UNSET_EFFORTS, None]}}})
def _reasoning(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("effort") is not None and value["effort"] not in _UNSET_EFFORTS:
        one_of(*get_args(ReasoningEffort))(f"{param}.effort", value["effort"])


def read_effort(fields: Mapping[str, Any]) -> ReasoningEffort | None:
    """Return the requested effort from the checked fields of a request, under either of its two names."""
    effort: Any = fields.get("reasoning_effort", fields.get("reasoning", {}).get("effort"))
    return None if effort in _UNSET_EFFORTS else effort


@form({"type": "object", "properties": {"ttl": {"type": ["string", "null"]}}})
def _cache_options(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("ttl") is not None:
        string()(f"{param}.ttl", value["ttl"])


def read_cache_ttl(fields: Mapping[str, Any]) -> CacheTtl | None:
    """Return how long the prompt should stay in Claude's cache, from the checked fields; an hour is its longest."""
    asked = fields.get("prompt_cache_options", {}).get("ttl") or fields.get("prompt_cache_retention")
    return None if asked is None else "5m" if asked in ("5m", *_IN_MEMORY) else "1h"


@form({"type": "integer", "minimum": 1, "maximum": 1})
def _n(param: str, value: Any) -> None:
    integer(1)(param, value)
    if value > 1:
        raise unsupported_value(
            param, f"Only one choice per request is supported. Send {param}=1, or several requests."
        )


@form(
    {"anyOf": [_STOP.schema, {"type": "array", "items": _STOP.schema, "maxItems": MAX_STOPS}]},
)
def _stop(param: str, value: Any) -> None:
    if not isinstance(value, (str, list)):
        raise wrong_type(param, "a string or an array of strings", value)
    if isinstance(value, str):
        _STOP(param, value)
        return
    for index, text in enumerate(value):
        _STOP(f"{param}[{index}]", text)
    if len(value) > MAX_STOPS:
        raise wrong_value(param, f"at most {MAX_STOPS} sequences")


# Some clients omit the type.
_TEXT_TYPES: Final = ("text", "input_text", "output_text", "", None)
_TEXT_PART: Final = {
    "type": "object",
    "required": ["text"],
    "properties": {"type": {"enum": list(_TEXT_TYPES)}, "text": {"type": "string"}},
}


@form({"anyOf": [{"type": "string"}, {"type": "array", "items": _TEXT_PART}]})
def _text_or_parts(param: str, value: Any) -> None:
    if not isinstance(value, (str, list)):
        raise wrong_type(param, "a string or an array of text parts", value)
    for index, part in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(part, dict):
            raise wrong_type(f"{param}[{index}]", "an object like {'type': 'text', 'text': ...}", part)
        if part.get("type") not in _TEXT_TYPES:
            raise unsupported_value(f"{param}[{index}].type", "Only parts of type 'text' are supported here.")
        string()(f"{param}[{index}].text", part.get("text"))


@form({"type": "array", "items": {"enum": ["text"]}})
def _modalities(param: str, value: Any) -> None:
    array(param, value)
    for index, kind in enumerate(value):
        one_of("text", "audio")(f"{param}[{index}]", kind)
    if "audio" in value:
        raise unsupported_value(param, "Claude answers in text only. Send ['text'] or omit the field.")


NOTHING_LIKE_IT: Final = "'{param}' is not supported: Claude Code has no equivalent. Omit the field."

FIELDS: Final[Mapping[str, Field]] = {
    "model": Field(Use.HONOURED, string()),
    "messages": Field(Use.HONOURED, _messages),
    # Not fields of OpenAI's chat completions: `system` is from Claude's API, `instructions` from the Responses API.
    "system": Field(Use.HONOURED, _text_or_parts),
    "instructions": Field(Use.HONOURED, string()),
    "stream": Field(Use.HONOURED, boolean),
    "stream_options": Field(Use.HONOURED, _stream_options),  # clients send it without `stream` too, which is harmless
    "reasoning_effort": Field(Use.HONOURED, one_of(*get_args(ReasoningEffort)), _UNSET_EFFORTS),
    "reasoning": Field(Use.HONOURED, _reasoning),  # {"effort": ...}, which other servers accept
    "user": Field(Use.HONOURED, string()),
    "safety_identifier": Field(Use.HONOURED, string(64)),  # the newer name of `user`
    "metadata": Field(Use.HONOURED, _metadata),
    "tools": Field(Use.HONOURED, array),
    "tool_choice": Field(Use.HONOURED, string_or_object, UNSET_WORDS),
    "parallel_tool_calls": Field(Use.HONOURED, boolean),
    "max_tokens": Field(Use.HONOURED, integer(1), _NO_LIMIT),
    "max_completion_tokens": Field(Use.HONOURED, integer(1), _NO_LIMIT),
    "stop": Field(Use.HONOURED, _stop),
    "prompt_cache_options": Field(Use.HONOURED, _cache_options),  # its `ttl`
    # Older SDKs send "in-memory".
    "prompt_cache_retention": Field(Use.HONOURED, one_of(*_IN_MEMORY, "24h"), UNSET_WORDS),
    "response_format": Field(Use.HONOURED, json_object),  # checked in `response_format`
    "claude": Field(Use.HONOURED, json_object),  # this server's extension; its keys are checked in `claude_options`
    "functions": Field(Use.HONOURED, array),
    "function_call": Field(Use.HONOURED, string_or_object),
    "web_search_options": Field(Use.HONOURED, search_options),  # if the server allows it
    "n": Field(Use.REFUSED, _n),
    "logprobs": Field(Use.REFUSED, only(boolean, (False,), NOTHING_LIKE_IT)),
    "top_logprobs": Field(Use.REFUSED, only(integer(0, 20), (0,), NOTHING_LIKE_IT)),
    "modalities": Field(Use.REFUSED, _modalities),
    "audio": Field(Use.REFUSED, only(json_object, (), NOTHING_LIKE_IT)),
    "temperature": Field(Use.IGNORED, number(0, 2)),
    "top_p": Field(Use.IGNORED, number(0, 1)),
    "frequency_penalty": Field(Use.IGNORED, number(-2, 2)),
    "presence_penalty": Field(Use.IGNORED, number(-2, 2)),
    "seed": Field(Use.IGNORED, integer(-9223372036854776000, 9223372036854776000)),  # as rounded in the schema
    "logit_bias": Field(Use.IGNORED, _logit_bias),
    "store": Field(Use.IGNORED, boolean),
    "service_tier": Field(Use.IGNORED, one_of("auto", "default", "flex", "scale", "priority", "fast"), UNSET_WORDS),
    "prompt_cache_key": Field(Use.IGNORED, string()),
    "prediction": Field(Use.IGNORED, json_object),
    "verbosity": Field(Use.IGNORED, one_of("low", "medium", "high"), UNSET_WORDS),
    "moderation": Field(Use.IGNORED, json_object),
}
