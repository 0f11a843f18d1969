"""The bytes of POST /v1/chat/completions -> one ChatRequest, checked.

`FIELDS` is the one place that says what becomes of each field of OpenAI's schema: honoured, ignored because no answer
is wrong for it, or refused because ignoring it would give an answer that is wrong in kind. `null` always means absent.
Fields that are not in the table are ignored: clients send many of their own. This module deliberately does not know
headers, keys, size limits or compression, what messages mean (`history.py`) or which models there are (`models.py`).
"""

import enum
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from claude_openai.errors import BadRequest
from claude_openai.protocol.content import (
    missing,
    unsupported_parameter,
    unsupported_value,
    wrong_type,
    wrong_value,
)
from claude_openai.protocol.history import Turn, read_messages
from claude_openai.protocol.models import ModelCatalog

ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Check: TypeAlias = Callable[[str, Any], None]
_Place: TypeAlias = tuple["_Place", str | int] | None

MAX_PARAM_CHARS: Final = 256
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request in our own terms.

    Attributes:
        model: the name the client asked for, echoed in the answer.
        claude_model: the name Claude is started with.
        system: the joined system and developer messages, "" if there are none.
        turns: the history before the prompt.
        prompt: the user turn to answer.
        stream: answer with server-sent events.
        include_usage: end the stream with a usage chunk.
        reasoning_effort: how long to think, None to leave it to the model.
        user: the client's id for its user.
        metadata: the client's own pairs, for the log.
    """

    model: str
    claude_model: str
    system: str
    turns: tuple[Turn, ...]
    prompt: Turn
    stream: bool
    include_usage: bool
    reasoning_effort: ReasoningEffort | None
    user: str | None
    metadata: Mapping[str, str]


def parse_chat_request(body: bytes, catalog: ModelCatalog) -> ChatRequest:
    """Read and check a request body.

    Raises:
        BadRequest: with the field at fault in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    fields = _load_object(body)
    if fields.get("model") in (None, ""):
        raise BadRequest("you must provide a model parameter. GET /v1/models lists the names.", param="model")
    if "messages" not in fields:
        raise missing("messages", "Send an array with at least one user message.")
    for name, field in FIELDS.items():
        if name in fields:
            field.check(name, fields[name])
    claude_model = catalog.resolve(fields["model"])
    transcript = read_messages(fields["messages"])
    return ChatRequest(
        model=fields["model"],
        claude_model=claude_model,
        system=transcript.system,
        turns=transcript.turns,
        prompt=transcript.prompt,
        stream=fields.get("stream", False),
        include_usage=bool(fields.get("stream_options", {}).get("include_usage")),
        reasoning_effort=fields.get("reasoning_effort", fields.get("reasoning", {}).get("effort")),
        user=fields.get("user"),
        metadata=fields.get("metadata", {}),
    )


def _load_object(body: bytes) -> dict[str, Any]:
    """The body's fields without those that are null."""
    try:
        text = body.decode("utf-8-sig")
        loaded = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError:
        raise _invalid_json("The body is not UTF-8. Send JSON encoded as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _invalid_json(f"The body is not valid JSON: {error}.") from None
    except ValueError:
        raise _invalid_json("The body holds a number that is not finite or has too many digits.") from None
    except RecursionError:
        raise _invalid_json("The body is nested too deeply. Send a flatter object.") from None
    if not isinstance(loaded, dict):
        raise _invalid_json("The body must be a JSON object with 'model' and 'messages'.")
    if _SURROGATE_ESCAPE.search(text):
        _refuse_lone_surrogates(loaded)
    return {name: value for name, value in loaded.items() if value is not None}


def _invalid_json(message: str) -> BadRequest:
    return BadRequest(message, code="invalid_json")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(literal)
    return number


def _refuse_lone_surrogates(fields: dict[str, Any]) -> None:
    """JSON can spell half a surrogate pair and UTF-8 cannot, so it could be neither passed on nor echoed."""
    stack: list[tuple[_Place, Any]] = [(None, fields)]  # not recursive: the depth is the client's choice
    while stack:
        place, value = stack.pop()
        if isinstance(value, list):
            stack.extend(((place, index), item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            stack.extend((place, key) for key in value)
            stack.extend(((place, key), item) for key, item in value.items())
        elif isinstance(value, str) and not _is_encodable(value):
            message = "A text holds half of a surrogate pair. Send both halves of the character, or none."
            raise BadRequest(message, code="invalid_value", param=_spelled(place))


def _spelled(place: _Place) -> str | None:
    """The place as a JSON path; None for the body itself, and for a path that is too long or cannot be encoded."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    path = "".join(reversed(steps)).removeprefix(".")
    return path if 0 < len(path) <= MAX_PARAM_CHARS and _is_encodable(path) else None


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Use(enum.Enum):
    """What this server does with a field."""

    HONOURED = "it has its effect"
    IGNORED = "its form is checked, it has no effect, and no answer is wrong for it"
    REFUSED = "every value that would need it is an error that names it"


@dataclass(frozen=True, slots=True)
class Field:
    use: Use
    check: Check  # called with the field's name and a value that is not null; raises BadRequest


def _boolean(param: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise wrong_type(param, "true or false", value)


def _object(param: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)


def _array(param: str, value: Any) -> None:
    if not isinstance(value, list):
        raise wrong_type(param, "an array", value)


def _string(max_chars: int | None = None) -> Check:
    def check(param: str, value: Any) -> None:
        if not isinstance(value, str):
            raise wrong_type(param, "a string", value)
        if max_chars is not None and len(value) > max_chars:
            raise wrong_value(param, f"at most {max_chars} characters")

    return check


def _one_of(*allowed: str) -> Check:
    def check(param: str, value: Any) -> None:
        _string()(param, value)
        if value not in allowed:
            raise wrong_value(param, "one of " + ", ".join(map(repr, allowed)), value)

    return check


def _number(low: float, high: float = math.inf) -> Check:
    def check(param: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(param, "a number", value)
        if not low <= value <= high:
            raise wrong_value(param, f"a number from {low}" + ("" if high == math.inf else f" to {high}"), value)

    return check


def _integer(low: int, high: float = math.inf) -> Check:
    def check(param: str, value: Any) -> None:
        # JSON has one kind of number: 1.0 is an integer to JSON Schema, and some languages write it so.
        if not isinstance(value, int) and not (isinstance(value, float) and value.is_integer()):
            raise wrong_type(param, "an integer", value)
        _number(low, high)(param, value)

    return check


def _messages(param: str, value: Any) -> None:
    _array(param, value)
    if not value:
        raise wrong_value(param, "an array with at least one user message")


def _metadata(param: str, value: Any) -> None:
    _object(param, value)
    if len(value) > 16 or any(len(key) > 64 for key in value):
        raise wrong_value(param, "at most 16 pairs with keys of at most 64 characters")
    for key, text in value.items():
        _string(512)(f"{param}.{key}", text)


def _logit_bias(param: str, value: Any) -> None:
    _object(param, value)
    for token, bias in value.items():
        _number(-100, 100)(f"{param}.{token[:64]}", bias)


def _stream_options(param: str, value: Any) -> None:
    _object(param, value)
    for key in ("include_usage", "include_obfuscation"):
        if value.get(key) is not None:
            _boolean(f"{param}.{key}", value[key])


def _reasoning(param: str, value: Any) -> None:
    _object(param, value)
    if value.get("effort") is not None:
        _one_of(*get_args(ReasoningEffort))(f"{param}.effort", value["effort"])


def _only(check: Check, harmless: tuple[Any, ...], advice: str) -> Check:
    """Refuse every value but the harmless ones, after its form has been checked."""

    def refuse(param: str, value: Any) -> None:
        check(param, value)
        if value not in harmless:
            raise unsupported_parameter(param, f"'{param}' is not supported yet by this version. {advice}")

    return refuse


def _n(param: str, value: Any) -> None:
    _integer(1)(param, value)
    if value > 1:
        raise unsupported_value(param, "A request gets one choice here. Send n=1, or several requests.")


def _text_or_texts(param: str, value: Any) -> None:
    if not isinstance(value, (str, list)):
        raise wrong_type(param, "a string or an array of strings", value)
    for index, text in enumerate(value if isinstance(value, list) else ()):
        _string()(f"{param}[{index}]", text)


def _text_or_object(param: str, value: Any) -> None:
    if not isinstance(value, (str, dict)):
        raise wrong_type(param, "a string or an object", value)


def _tool_choice(param: str, value: Any) -> None:
    _text_or_object(param, value)
    if isinstance(value, str):
        _one_of("none", "auto", "required")(param, value)
    if value not in ("none", "auto"):
        raise unsupported_value(param, "No tool can be called by this version. Send 'auto' or 'none', or leave it out.")


def _response_format(param: str, value: Any) -> None:
    _object(param, value)
    kind, where = value.get("type"), f"{param}.type"
    if kind is None:
        raise missing(where, "Send 'text'.")
    _one_of("text", "json_object", "json_schema")(where, kind)
    if kind != "text":
        raise unsupported_value(where, f"The format '{kind}' is not supported yet by this version. Send 'text'.")


def _modalities(param: str, value: Any) -> None:
    _array(param, value)
    for index, kind in enumerate(value):
        _one_of("text", "audio")(f"{param}[{index}]", kind)
    if "audio" in value:
        raise unsupported_value(param, "Claude answers in text only. Send ['text'] or leave it out.")


_LEAVE_OUT: Final = "Leave it out."
_NO_TOOLS: Final = "Send the conversation without tools."
_USE_TOOLS: Final = "It is deprecated as well: later versions will take 'tools' in its place."

FIELDS: Final[Mapping[str, Field]] = {
    "model": Field(Use.HONOURED, _string()),
    "messages": Field(Use.HONOURED, _messages),
    "stream": Field(Use.HONOURED, _boolean),
    "stream_options": Field(Use.HONOURED, _stream_options),  # also without stream: harmless, and clients do it
    "reasoning_effort": Field(Use.HONOURED, _one_of(*get_args(ReasoningEffort))),
    "reasoning": Field(Use.HONOURED, _reasoning),  # not OpenAI's here: {"effort": ...} as other servers take it
    "user": Field(Use.HONOURED, _string()),
    "metadata": Field(Use.HONOURED, _metadata),
    "tools": Field(Use.REFUSED, _only(_array, ([],), _NO_TOOLS)),
    "tool_choice": Field(Use.REFUSED, _tool_choice),
    "functions": Field(Use.REFUSED, _only(_array, ([],), _USE_TOOLS)),
    "function_call": Field(Use.REFUSED, _only(_text_or_object, ("", {}), _USE_TOOLS)),
    "response_format": Field(Use.REFUSED, _response_format),
    "stop": Field(Use.REFUSED, _only(_text_or_texts, ("", []), "Leave it out and cut the answer yourself.")),
    "n": Field(Use.REFUSED, _n),
    "logprobs": Field(Use.REFUSED, _only(_boolean, (False,), _LEAVE_OUT)),
    "top_logprobs": Field(Use.REFUSED, _only(_integer(0, 20), (0,), _LEAVE_OUT)),
    "modalities": Field(Use.REFUSED, _modalities),
    "audio": Field(Use.REFUSED, _only(_object, (), _LEAVE_OUT)),
    "web_search_options": Field(Use.REFUSED, _only(_object, (), _LEAVE_OUT)),
    "max_tokens": Field(Use.IGNORED, _integer(1)),
    "max_completion_tokens": Field(Use.IGNORED, _integer(1)),
    "temperature": Field(Use.IGNORED, _number(0, 2)),
    "top_p": Field(Use.IGNORED, _number(0, 1)),
    "frequency_penalty": Field(Use.IGNORED, _number(-2, 2)),
    "presence_penalty": Field(Use.IGNORED, _number(-2, 2)),
    "seed": Field(Use.IGNORED, _integer(-9223372036854776000, 9223372036854776000)),  # as rounded in the schema
    "logit_bias": Field(Use.IGNORED, _logit_bias),
    "safety_identifier": Field(Use.IGNORED, _string(64)),
    "store": Field(Use.IGNORED, _boolean),
    "service_tier": Field(Use.IGNORED, _one_of("auto", "default", "flex", "scale", "priority", "fast")),
    "prompt_cache_key": Field(Use.IGNORED, _string()),
    "prompt_cache_options": Field(Use.IGNORED, _object),
    "prompt_cache_retention": Field(Use.IGNORED, _one_of("in_memory", "in-memory", "24h")),  # older SDKs: in-memory
    "prediction": Field(Use.IGNORED, _object),
    "verbosity": Field(Use.IGNORED, _one_of("low", "medium", "high")),
    "moderation": Field(Use.IGNORED, _object),
    "parallel_tool_calls": Field(Use.IGNORED, _boolean),
}
