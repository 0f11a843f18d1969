"""Reads `response_format`, the required format of the answer."""

from collections.abc import Mapping
from typing import Any

from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.turn.output_format import OutputFormat
from claude_openai.protocol.wire.bad_request import missing, wrong_type, wrong_value
from claude_openai.protocol.wire.object_schema import named, output_format

__all__ = ["read_response_format"]


def read_response_format(
    value: Mapping[str, Any], budget: Budget, param: str = "response_format"
) -> OutputFormat | None:
    """Check `response_format`; None for plain text.

    Args:
        value: the value of the field.
        budget: the budget of the request.
        param: the path of the field in the request.

    Raises:
        BadRequest: with the invalid field in `param`, like `response_format.json_schema.schema`.
    """
    kind = value.get("type")
    if kind is None:
        raise missing(f"{param}.type", "Send 'text', 'json_object' or 'json_schema'.")
    if not isinstance(kind, str):
        raise wrong_type(f"{param}.type", "a string", kind)
    if kind == "text":
        return None
    if kind == "json_object":
        return output_format({"type": "object"}, param, budget)
    if kind != "json_schema":
        raise wrong_value(f"{param}.type", "'text', 'json_object' or 'json_schema'", kind)
    inner = value.get("json_schema")
    if inner is None:
        raise missing(f"{param}.json_schema", "Send an object with 'name' and 'schema'.")
    return json_schema_format(inner, f"{param}.json_schema", budget)


def json_schema_format(inner: Any, where: str, budget: Budget) -> OutputFormat:
    """Return the format for an object with `name` and `schema`.

    Raises:
        BadRequest: with the invalid field in `param`.
    """
    if not isinstance(inner, dict):
        raise wrong_type(where, "an object with 'name' and 'schema'", inner)
    named(inner, where, "Send a name of the format.", 64)
    schema = inner.get("schema")
    if schema is None:
        raise missing(f"{where}.schema", "Send the JSON Schema of the answer.")
    return output_format(schema, f"{where}.schema", budget)
