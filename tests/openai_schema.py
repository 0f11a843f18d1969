"""What is true OpenAI format: its OpenAPI document and its own Python models, as judges for tests.

Two judges, because each misses something. The document (`validate`) knows which keys are required; here it is also
closed, so that an undocumented key is an error. The models of the `openai` package (`strict_openai_chunk` and the
rest) are what real clients build; here without the leniency of the SDK, which takes any JSON for any model.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jsonschema_rs import Draft202012Validator, Registry, ValidationError, ValidationErrorKind
from pydantic import BaseModel, TypeAdapter

# Importing the package takes longer than most modules of tests: only those who ask its models pay for it.
if TYPE_CHECKING:
    from openai.types import Completion, Model
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.responses import Response, ResponseStreamEvent

__all__ = [
    "strict_openai_chunk",
    "strict_openai_completion",
    "strict_openai_event",
    "strict_openai_model",
    "strict_openai_response",
    "strict_openai_text_completion",
    "validate",
    "validate_event",
    "validate_known",
    "validate_response",
    "validate_sampled",
]

DOCUMENT_PATH = Path(__file__).parent / "fixtures" / "openai-openapi-subset.json"

# Keys that are in no schema of OpenAI's and that its clients know all the same.
EXTENSIONS = {
    "ChatCompletionResponseMessage": ("reasoning_content", "reasoning"),
    # OpenAI's own models send annotations too.
    "ChatCompletionStreamResponseDelta": ("reasoning_content", "reasoning", "annotations"),
    # Dollars.
    "CompletionUsage": ("cost_usd",),
    "ResponseUsage": ("cost_usd",),
    # Open Responses demands these; the SDKs raise an error event that has its object.
    "Response": ("presence_penalty", "frequency_penalty", "store"),
    "ResponseErrorEvent": ("error",),
    # OpenRouter's, which clients ask for what a model takes, the levels of `reasoning_effort`, and fast mode.
    "Model": (
        *("context_length", "max_output_tokens", "input_modalities", "output_modalities"),
        *("reasoning_efforts", "fast_mode"),
    ),
}
_TYPES: dict[str, Any] = {
    **{key: {"type": "string"} for key in ("reasoning_content", "reasoning")},
    **{key: {"type": "number"} for key in ("presence_penalty", "frequency_penalty", "cost_usd")},
    **{key: {"type": "integer"} for key in ("context_length", "max_output_tokens")},
    **{
        key: {"type": "array", "items": {"type": "string"}}
        for key in ("input_modalities", "output_modalities", "reasoning_efforts")
    },
    **{key: {"type": "boolean"} for key in ("store", "fast_mode")},
    "annotations": {"$ref": "#/components/schemas/ChatCompletionResponseMessage/properties/annotations"},
    "error": {"$ref": "#/components/schemas/Error"},
}
# In the document, and not in the package.
_NOT_IN_PACKAGE = {"ResponseFunctionCallArgumentsDoneEvent.name"}
# Codes of a failed response that are in no list of OpenAI's, that its servers send and that Codex acts on.
FAILURE_CODES = ["context_length_exceeded", "insufficient_quota", "server_is_overloaded"]
_BY_OBJECT = {
    "chat.completion": "CreateChatCompletionResponse",
    "chat.completion.chunk": "CreateChatCompletionStreamResponse",
    "model": "Model",
}
# The rest of a long stream is more of the same.
SAMPLED_WHOLE = 50
SAMPLED_OF = 16
_ADDRESS = "urn:openai"
_EXTENSION_KEYS = {key for keys in EXTENSIONS.values() for key in keys}
_M = TypeVar("_M", bound=BaseModel)


def validate(schema_name: str, instance: object, *, closed: bool = True) -> None:
    """Assert that `instance` is what `components/schemas/<schema_name>` describes.

    Args:
        schema_name: such as `CreateChatCompletionResponse`.
        instance: what `json.loads` gave.
        closed: a key that is neither in the schema nor in `EXTENSIONS` is an error: for answers, not for requests.

    Raises:
        AssertionError: every violation with its path, one a line.
        KeyError: there is no such schema.
    """
    problems = [_explain(error) for error in _validator(schema_name, closed).iter_errors(instance)]
    if problems:
        raise AssertionError("\n".join([f"not a {schema_name}:", *problems, json.dumps(instance)]))


def validate_known(instance: object) -> None:
    """Assert that an answer of the server is what its own `object` says, or an error; for all answers of all tests."""
    if not isinstance(instance, dict):
        return
    if set(instance) == {"error"}:
        validate("ErrorResponse", instance)
    elif instance.get("object") in _BY_OBJECT:
        validate(_BY_OBJECT[instance["object"]], instance)
    elif instance.get("object") == "response" and not _has_namespaces(instance):
        validate_response(instance)
    elif "sequence_number" in instance and not _has_namespaces(instance.get("response", {})):
        validate_event(instance)


def validate_sampled(index: int, instance: object) -> None:
    """As `validate_known`, for an event of a stream at this place: each of the first ones, and some of the rest."""
    if index < SAMPLED_WHOLE or index % SAMPLED_OF == 0:
        validate_known(instance)


def _has_namespaces(response: dict[str, Any]) -> bool:
    # The document's own form of such a tool allows no schema in it.
    return any(tool["type"] == "namespace" for tool in response.get("tools", ()))


def strict_openai_chunk(instance: dict[str, Any]) -> "ChatCompletionChunk":
    """The chunk as the `openai` package's model; no coercion, no undeclared keys but those of `EXTENSIONS`."""
    from openai.types.chat import ChatCompletionChunk

    return _strict(ChatCompletionChunk, instance)


def strict_openai_completion(instance: dict[str, Any]) -> "ChatCompletion":
    """The completion as the `openai` package's model; strict as `strict_openai_chunk`."""
    from openai.types.chat import ChatCompletion

    return _strict(ChatCompletion, instance)


def strict_openai_text_completion(instance: dict[str, Any]) -> "Completion":
    """The text completion, or a chunk of one, as the `openai` package's model; strict as `strict_openai_chunk`."""
    from openai.types import Completion

    # The package has no null for the reason of a chunk that is not the last; OpenAI's servers send it.
    choices = [{**each, "finish_reason": each["finish_reason"] or "stop"} for each in instance["choices"]]
    return _strict(Completion, {**instance, "choices": choices})


def strict_openai_model(instance: dict[str, Any]) -> "Model":
    """An entry of the list of models as the `openai` package's model; strict as `strict_openai_chunk`."""
    from openai.types import Model

    return _strict(Model, instance)


def validate_response(instance: dict[str, Any]) -> None:
    """As `validate`, for a response, with null for a usage that is not known yet, as OpenAI's own servers say it.

    Raises:
        AssertionError: as `validate`.
    """
    validate("Response", _with_known_usage(instance))


def _with_known_usage(response: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in response.items() if (key, value) != ("usage", None)}


def validate_event(instance: dict[str, Any]) -> None:
    """As `validate`, for any event of a response's stream.

    Raises:
        AssertionError: as `validate`.
    """
    if "response" in instance:
        instance = {**instance, "response": _with_known_usage(instance["response"])}
    validate(_event_schemas()[instance["type"]], instance)


@cache
def _event_schemas() -> dict[str, str]:
    """The schema of each type of event."""
    schemas = _schemas(closed=True)
    names = [part["$ref"].rpartition("/")[2] for part in schemas["ResponseStreamEvent"]["anyOf"]]
    return {schemas[name]["properties"]["type"]["enum"][0]: name for name in names}


def strict_openai_response(instance: dict[str, Any]) -> "Response":
    """The response as the `openai` package's model; strict as `strict_openai_chunk`."""
    from openai.types.responses import Response

    return _strict(Response, instance)


def strict_openai_event(instance: dict[str, Any]) -> "ResponseStreamEvent":
    """The event as the `openai` package's model; strict as `strict_openai_chunk`."""
    event = _event_model().validate_python(instance, strict=True)
    _refuse_undeclared(event)
    return event


@cache
def _event_model() -> "TypeAdapter[ResponseStreamEvent]":
    from openai.types.responses import ResponseStreamEvent

    return TypeAdapter(ResponseStreamEvent)


def _strict(model: type[_M], instance: dict[str, Any]) -> _M:
    # The SDK itself only constructs and checks no types; pydantic's strict mode is the check it leaves out. Every
    # model of the package allows undeclared keys, so they are looked for afterwards.
    value = model.model_validate(instance, strict=True)
    _refuse_undeclared(value)
    return value


def _refuse_undeclared(value: BaseModel) -> None:
    unknown = sorted(set(_undeclared(value, type(value).__name__)) - _NOT_IN_PACKAGE)
    if unknown:
        raise AssertionError(f"keys the openai package does not declare: {', '.join(unknown)}")


def _undeclared(value: object, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{path}.{key}" for key in value.model_extra or {} if key not in _EXTENSION_KEYS)
        for name in type(value).model_fields:
            yield from _undeclared(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _undeclared(item, f"{path}[{index}]")


def _explain(error: ValidationError, indent: str = "  ") -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.instance_path)
    lines = [f"{indent}${path}: {error.message}"]
    match error.kind:
        case ValidationErrorKind.AnyOf(branches) | ValidationErrorKind.OneOfNotValid(branches):
            lines += [_explain(cause, indent + "  ") for branch in branches for cause in branch]
    return "\n".join(lines)


@cache
def _schemas(closed: bool) -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads(DOCUMENT_PATH.read_text("utf-8"))["components"]["schemas"]
    for name, keys in EXTENSIONS.items():
        schemas[name].setdefault("properties", {}).update({key: _TYPES[key] for key in keys})
    schemas["ResponseErrorCode"]["enum"] += FAILURE_CODES
    schemas = {name: _without_nullable(schema) for name, schema in schemas.items()}
    if not closed:
        return schemas
    # A schema that others are composed of must stay open: it sees only its share of the keys.
    shares = set(_composed_from(schemas))
    return {
        name: _closed(schema, is_share=f"#/components/schemas/{name}" in shares) for name, schema in schemas.items()
    }


@cache
def _validator(schema_name: str, closed: bool) -> Draft202012Validator:
    if schema_name not in _schemas(closed):
        raise KeyError(schema_name)
    return Draft202012Validator({"$ref": f"{_ADDRESS}#/components/schemas/{schema_name}"}, registry=_registry(closed))


@cache
def _registry(closed: bool) -> Registry:
    return Registry([(_ADDRESS, {"components": {"schemas": _schemas(closed)}})])


def _without_nullable(node: Any) -> Any:
    """`nullable`, a word of OpenAPI 3.0 that JSON Schema ignores, as the `anyOf` it means."""
    if isinstance(node, list):
        return [_without_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    translated = {key: _without_nullable(value) for key, value in node.items() if (key, value) != ("nullable", True)}
    return translated if len(translated) == len(node) else {"anyOf": [translated, {"type": "null"}]}


def _composed_from(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _composed_from(item)
    elif isinstance(node, dict):
        yield from (part["$ref"] for part in node.get("allOf", []) if "$ref" in part)
        for value in node.values():
            yield from _composed_from(value)


def _closed(node: Any, *, is_share: bool = False) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {
        key: [_closed(part, is_share=True) for part in value] if key == "allOf" else _closed(value)
        for key, value in node.items()
    }
    describes_keys = isinstance(node.get("properties"), dict) or "allOf" in node
    if describes_keys and not is_share and "additionalProperties" not in node:
        closed["unevaluatedProperties"] = False
    return closed
