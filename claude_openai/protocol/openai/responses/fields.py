"""All fields of OpenAI's create-response.

The table corresponds to `FIELDS` of chat completions and takes the common fields from it.
"""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.protocol.openai.chat.fields import FIELDS, UNSET_WORDS
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.field_types import (
    Field,
    Use,
    array,
    boolean,
    form,
    integer,
    json_object,
    one_of,
    only,
    string,
    string_or_object,
)

__all__ = ["RESPONSES_FIELDS"]

_SUMMARIES: Final = ("auto", "concise", "detailed")
_VERBOSITIES: Final = ("low", "medium", "high")
_NO_LOGPROBS: Final = "message.output_text.logprobs"
_NOT_STORED: Final = "Conversation objects are not supported. Send 'previous_response_id', or the whole 'input'."


@form({"anyOf": [{"type": "string", "pattern": "\\S"}, {"type": "array", "minItems": 1}]})
def _input(param: str, value: Any) -> None:
    if not isinstance(value, (str, list)):
        raise wrong_type(param, "a text or an array of items", value)
    if not (value.strip() if isinstance(value, str) else value):
        raise wrong_value(param, "some visible text, or at least one item")


@form(
    {
        "type": "object",
        "properties": {
            "verbosity": {"enum": [*_VERBOSITIES, *UNSET_WORDS, None]},
            "format": {"type": ["object", "null"]},
        },
    }
)
def _text(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("verbosity") not in (*UNSET_WORDS, None):
        one_of(*_VERBOSITIES)(f"{param}.verbosity", value["verbosity"])
    if value.get("format") is not None:
        json_object(f"{param}.format", value["format"])  # checked in `response_format`


@form(
    {
        **FIELDS["reasoning"].check.schema,
        "properties": {
            **FIELDS["reasoning"].check.schema["properties"],
            "summary": {"enum": [*_SUMMARIES, *UNSET_WORDS, None]},
        },
    }
)
def _reasoning(param: str, value: Any) -> None:
    FIELDS["reasoning"].check(param, value)
    if value.get("summary") not in (*UNSET_WORDS, None):
        one_of(*_SUMMARIES)(f"{param}.summary", value["summary"])


@form({"type": "array", "items": {"type": "string", "not": {"const": _NO_LOGPROBS}}})
def _include(param: str, value: Any) -> None:
    array(param, value)
    for index, name in enumerate(value):
        string()(f"{param}[{index}]", name)
        if name == _NO_LOGPROBS:
            raise unsupported_value(f"{param}[{index}]", "Claude's API has no log probabilities. Omit the value.")


_COMMON_FIELDS: Final = (
    *("model", "system", "instructions", "stream", "claude", "user", "metadata"),
    *("tools", "tool_choice", "parallel_tool_calls"),
    *("top_logprobs", "temperature", "top_p", "safety_identifier", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "moderation"),
)

RESPONSES_FIELDS: Final[Mapping[str, Field]] = {
    "input": Field(Use.HONOURED, _input),
    **{name: FIELDS[name] for name in _COMMON_FIELDS},
    "reasoning": Field(Use.HONOURED, _reasoning),
    "text": Field(Use.HONOURED, _text),  # its verbosity is ignored
    "max_output_tokens": FIELDS["max_tokens"],
    "store": Field(Use.HONOURED, boolean),
    "previous_response_id": Field(Use.HONOURED, string(), ("",)),
    "conversation": Field(Use.REFUSED, only(string_or_object, ("",), _NOT_STORED)),
    "background": Field(Use.HONOURED, boolean),
    "prompt": Field(Use.REFUSED, only(json_object, ({},), "Prompts are not stored. Send the text in 'input'.")),
    # The sources of web searches. Log probabilities are rejected: an answer without them would be wrong.
    "include": Field(Use.HONOURED, _include),
    "max_tool_calls": Field(Use.HONOURED, integer(1)),  # it counts web searches, not the client's tools
    "truncation": Field(Use.IGNORED, one_of("auto", "disabled"), UNSET_WORDS),
    "context_management": Field(Use.IGNORED, array),
    "stream_options": Field(Use.IGNORED, json_object),  # it has no include_usage: the usage is always sent
    "service_tier": Field(
        Use.IGNORED, one_of("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"), UNSET_WORDS
    ),
}
