"""`response_format`: the form an answer must have.

Claude Code is given the schema as `adapted` says it anew, and the answer is checked against the client's own. Knows
names and types of forms, and nothing of JSON Schema.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.checks import boolean, string
from claude_openai.protocol.refusals import missing, wrong_type, wrong_value
from claude_openai.protocol.tools import object_schema

__all__ = ["OutputFormat", "output_check", "read_response_format"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form of an answer: a JSON object that fits `schema`, which is itself compact JSON."""

    name: str
    schema: str

    def for_claude(self) -> dict[str, Any]:
        """The schema as Claude Code takes it."""
        from claude_openai.protocol.adapted import adapted_schema

        return adapted_schema(self.schema)


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
    for key, check in (("description", string()), ("strict", boolean)):
        if inner.get(key) is not None:
            check(f"{where}.{key}", inner[key])
    if schema is None:
        raise missing(f"{where}.schema", "Send the JSON Schema of the answer.")
    form = OutputFormat(name, object_schema(schema, f"{where}.schema", code="invalid_json_schema"))
    _check_for_claude(form, f"{where}.schema")
    return form


def _check_for_claude(form: OutputFormat, where: str) -> None:
    """Now, before anything is paid: a form that Claude Code cannot take would not be asked for."""
    from claude_openai.protocol.adapted import CannotBeAdapted

    try:
        form.for_claude()
    except CannotBeAdapted as error:
        raise BadRequest(f"'{where}' {error}", code="invalid_json_schema", param=where) from None
