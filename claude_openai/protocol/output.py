"""`response_format`: the form an answer must have, and that form as Claude Code takes it.

Claude Code asks for structured output with a schema that it compiles in a strict way: a keyword that it does not know
makes the demand vanish in silence. So it is given an adapted schema, in which what it cannot check stands as words, and
the answer is checked against the client's own. Knows JSON Schema's keywords, and runs no check itself.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.protocol.refusals import missing, wrong_type, wrong_value
from claude_openai.protocol.tools import object_schema

__all__ = ["OutputFormat", "adapted_schema", "output_check", "read_response_format"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

# What Claude Code's own check knows, by what stands under the keyword.
_PLAIN: Final = frozenset(
    {
        *("type", "enum", "const", "required", "title", "description", "default", "examples", "$ref", "$comment"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
_ONE: Final = frozenset({"additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_MANY: Final = frozenset({"anyOf", "oneOf", "allOf"})
_NAMED: Final = frozenset({"properties", "$defs", "definitions"})
_SILENT: Final = frozenset({"$schema", "$id", "id", "$anchor"})
SHOWN_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form of an answer: a JSON object that fits `schema`, which is itself compact JSON."""

    name: str
    schema: str

    def for_claude(self) -> dict[str, Any]:
        """The schema as Claude Code takes it."""
        adapted: dict[str, Any] = adapted_schema(json.loads(self.schema))
        return {**adapted, "type": "object"}


def output_check(form: OutputFormat | None) -> Callable[[object], str | None] | None:
    """What says what is wrong with an answer, in words for Claude; None for an answer in text."""
    if form is None:
        return None
    from claude_openai.protocol.schemas import validator_of

    validator = validator_of(form.schema)
    return lambda answer: validator.problem(answer) if isinstance(answer, dict) else "it must be a JSON object"


def read_response_format(value: Mapping[str, Any], param: str = "response_format") -> OutputFormat | None:
    """Check `response_format`; None for plain text.

    Raises:
        BadRequest: naming what is malformed, like `response_format.json_schema.schema`.
    """
    kind = value.get("type")
    if kind is None:
        raise missing(f"{param}.type", "Send 'text', 'json_object' or 'json_schema'.")
    if not isinstance(kind, str):
        raise wrong_type(f"{param}.type", "a string", kind)
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat("json_object", '{"type":"object"}')
    if kind != "json_schema":
        raise wrong_value(f"{param}.type", "'text', 'json_object' or 'json_schema'", kind)
    inner = value.get("json_schema")
    if inner is None:
        raise missing(f"{param}.json_schema", "Send an object with 'name' and 'schema'.")
    return json_schema_format(inner, f"{param}.json_schema")


def json_schema_format(inner: Any, where: str) -> OutputFormat:
    """The form for an object with `name` and `schema`.

    Raises:
        BadRequest: naming what is malformed.
    """
    if not isinstance(inner, dict):
        raise wrong_type(where, "an object with 'name' and 'schema'", inner)
    name, schema = inner.get("name"), inner.get("schema")
    if name is None:
        raise missing(f"{where}.name", "Send a name for the form.")
    if not isinstance(name, str):
        raise wrong_type(f"{where}.name", "a string", name)
    if not _NAME.fullmatch(name):
        raise wrong_value(f"{where}.name", "1 to 64 letters, digits, '_' or '-'", name)
    if schema is None:
        raise missing(f"{where}.schema", "Send the JSON Schema of the answer.")
    return OutputFormat(name, object_schema(schema, f"{where}.schema", code="invalid_json_schema"))


def adapted_schema(schema: Any) -> Any:
    """The schema with only those keywords that Claude Code's check knows; the others become part of `description`."""
    if not isinstance(schema, dict):
        return schema
    adapted: dict[str, Any] = {}
    words: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _PLAIN:
            adapted[keyword] = value
        elif keyword in _ONE or (keyword == "items" and not isinstance(value, list)):
            adapted[keyword] = adapted_schema(value)
        elif keyword in _MANY:
            adapted[keyword] = [adapted_schema(each) for each in value]
        elif keyword in _NAMED:
            adapted[keyword] = {name: adapted_schema(each) for name, each in value.items()}
        elif keyword not in _SILENT:
            words[keyword] = value
    if words:
        said = json.dumps(words, separators=(",", ":"))[:SHOWN_CHARS]
        adapted["description"] = f"{adapted.get('description', '')} (JSON Schema: {said})".strip()
    return adapted
