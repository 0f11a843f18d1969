"""Types of the values of request fields: booleans, strings, numbers within bounds.

Each check is called with the name of the field and a value that is not null, and raises BadRequest if the value is
invalid. Each has an equivalent JSON Schema, for `/openapi.json`.
"""

import enum
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from claude_openai.protocol.wire.bad_request import unsupported_parameter, wrong_type, wrong_value

__all__ = [
    "Field",
    "FieldCheck",
    "Form",
    "Schema",
    "Use",
    "array",
    "boolean",
    "form",
    "integer",
    "json_object",
    "number",
    "one_of",
    "only",
    "string",
    "string_or_object",
]

FieldCheck: TypeAlias = Callable[[str, Any], None]
Schema: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A check, and the JSON Schema that accepts the same values."""

    check: FieldCheck
    schema: Schema

    def __call__(self, param: str, value: Any) -> None:
        self.check(param, value)


def form(schema: Schema) -> Callable[[FieldCheck], Form]:
    """Attach a schema to a check: `@form({"type": "boolean"})`."""
    return lambda check: Form(check, schema)


@form({"type": "boolean"})
def boolean(param: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise wrong_type(param, "true or false", value)


@form({"type": "object"})
def json_object(param: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)


@form({"type": "array"})
def array(param: str, value: Any) -> None:
    if not isinstance(value, list):
        raise wrong_type(param, "an array", value)


def string(max_chars: int | None = None) -> Form:
    @form({"type": "string"} | ({} if max_chars is None else {"maxLength": max_chars}))
    def check(param: str, value: Any) -> None:
        if not isinstance(value, str):
            raise wrong_type(param, "a string", value)
        if max_chars is not None and len(value) > max_chars:
            raise wrong_value(param, f"at most {max_chars} characters")

    return check


def one_of(*allowed: str) -> Form:
    @form({"enum": list(allowed)})
    def check(param: str, value: Any) -> None:
        string()(param, value)
        if value not in allowed:
            raise wrong_value(param, "one of " + ", ".join(map(repr, allowed)), value)

    return check


def number(low: float, high: float = math.inf) -> Form:
    @form({"type": "number", "minimum": low} | ({} if high == math.inf else {"maximum": high}))
    def check(param: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(param, "a number", value)
        if not low <= value <= high:
            raise wrong_value(param, f"a number from {low}" + ("" if high == math.inf else f" to {high}"), value)

    return check


def integer(low: int, high: float = math.inf) -> Form:
    @form({**number(low, high).schema, "type": "integer"})
    def check(param: str, value: Any) -> None:
        # JSON has one kind of number: 1.0 is an integer to JSON Schema, and some languages write it so.
        if not isinstance(value, int) and not (isinstance(value, float) and value.is_integer()):
            raise wrong_type(param, "an integer", value)
        number(low, high)(param, value)

    return check


@form({"type": ["string", "object"]})
def string_or_object(param: str, value: Any) -> None:
    if not isinstance(value, (str, dict)):
        raise wrong_type(param, "a string or an object", value)


def only(check: Form, harmless: Collection[Any], message: str) -> Form:
    """Reject all values but the harmless ones, after `check` has passed. The message may contain `{param}`."""

    @form({**check.schema, "enum": list(harmless)} if harmless else {"not": {}})
    def refuse(param: str, value: Any) -> None:
        check(param, value)
        if value not in harmless:
            raise unsupported_parameter(param, message.format(param=param))

    return refuse


class Use(enum.Enum):
    """What this server does with a field."""

    HONOURED = "it has its effect"
    IGNORED = "its form is checked, it has no effect, and no answer is wrong for it"
    REFUSED = "every value that would need it is an error that names it"


@dataclass(frozen=True, slots=True)
class Field:
    """An entry of the table of fields.

    Attributes:
        use: what this server does with the field.
        check: called with the field's name and a value that is not null; raises BadRequest.
        unset: values that mean the same as null.
    """

    use: Use
    check: Form
    unset: tuple[str | int, ...] = ()
