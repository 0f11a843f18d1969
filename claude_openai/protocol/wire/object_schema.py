"""The named JSON Schemas of a request: tool parameters and structured output."""

import json
import re
from typing import TYPE_CHECKING, Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from claude_openai.protocol.turn.output_format import OutputFormat
from claude_openai.protocol.wire.bad_request import missing, wrong_type, wrong_value
from claude_openai.protocol.wire.field_types import boolean, string

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = ["BAD_PARAMETERS", "named", "object_schema", "output_format", "too_much_work"]


BAD_PARAMETERS: Final = "invalid_function_parameters"


def named(given: dict[str, Any], where: str, advice: str, max_chars: int) -> tuple[str, str]:
    """Return the name and the description, "" if there is none; `strict` is checked too.

    Args:
        given: the function, or the format of the answer.
        where: its path in the request.
        advice: the hint of the error if the name is missing.
        max_chars: the length limit of the name.

    Raises:
        BadRequest: a field is missing or malformed; `param` is a path below `where`.
    """
    name = given.get("name")
    if name is None:
        raise missing(f"{where}.name", advice)
    string()(f"{where}.name", name)
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{max_chars}}}", name):
        raise wrong_value(f"{where}.name", f"1 to {max_chars} letters, digits, '_' or '-'", name)
    for key, check in (("description", string()), ("strict", boolean)):
        if given.get(key) is not None:
            check(f"{where}.{key}", given[key])
    return name, given.get("description") or ""


def object_schema(schema: Any, where: str, *, code: str, budget: Budget) -> tuple[str, "ArgumentValidator"]:
    """Check a JSON Schema of objects; return it as compact JSON in the client's order of keys, and its validator.

    Raises:
        BadRequest: the type is wrong; or, with `code`, the schema is invalid or exceeds the budget.
    """
    from claude_openai.protocol.json_schema.validation import UnusableSchema, usable_schema

    if not isinstance(schema, dict):
        raise wrong_type(where, "a JSON Schema object", schema)
    if not isinstance(schema.get("$schema", ""), str):
        raise wrong_type(f"{where}.$schema", "a string", schema["$schema"])
    if schema.get("type", "object") != "object":
        raise wrong_value(f"{where}.type", "'object'", str(schema["type"]))
    text = json.dumps(schema, separators=(",", ":"))
    try:
        return text, usable_schema(text, budget)
    except UnusableSchema as error:
        raise BadRequest(f"'{where}' {error}", code=code, param=where) from None
    except TooMuchWork as error:
        raise too_much_work(where, error, code) from None


def output_format(schema: Any, where: str, budget: Budget) -> OutputFormat:
    """Return the format of an answer that matches a schema.

    Claude Code gets the schema as rewritten by `claude_dialect`; the answer is validated against the client's own.

    Raises:
        BadRequest: the schema is invalid, cannot be rewritten, or exceeds the budget; `param` is `where`.
    """
    # Rewritten before the turn costs anything: Claude Code silently drops structured output if the schema is invalid.
    from claude_openai.protocol.json_schema.claude_dialect import CannotBeTranslated, to_claude_schema

    code = "invalid_json_schema"
    text, validator = object_schema(schema, where, code=code, budget=budget)
    try:
        return OutputFormat(text, to_claude_schema(text, validator.document, budget), validator)
    except CannotBeTranslated as error:
        raise BadRequest(f"'{where}' {error}", code=code, param=where) from None
    except TooMuchWork as error:
        raise too_much_work(where, error, code) from None


def too_much_work(where: str, error: TooMuchWork, code: str) -> BadRequest:
    """Return the error for a schema that exceeds the budget of the request."""
    message = f"'{where}' cannot be checked: the schemas of the request up to it take {error}. Send simpler schemas."
    return BadRequest(message, code=code, param=where)
