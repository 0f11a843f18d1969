"""Reads and checks the client's tools, in the formats of OpenAI's two APIs and of Claude's API."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from claude_openai.protocol.turn.tools import MAX_NAME_CHARS, Tool
from claude_openai.protocol.wire.bad_request import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.object_schema import BAD_PARAMETERS, named, object_schema, too_much_work

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = ["function_tool", "read_function", "read_tools", "without_repeats"]


_NO_ARGUMENTS: Final = {"type": "object", "properties": {}}
# OpenAI's API accepts 128 tools. Claude's API accepts more, which users with many MCP servers need.
MAX_TOOLS: Final = 1024


def read_tools(value: Sequence[Any], budget: Budget) -> tuple[Tool, ...]:
    """Check the `tools` of a request.

    Args:
        value: the tools.
        budget: the budget of the request.

    Raises:
        BadRequest: with the invalid field in `param`, like `tools[2].function.parameters`.
    """
    if len(value) > MAX_TOOLS:
        raise wrong_value("tools", f"at most {MAX_TOOLS} tools")
    return without_repeats(read_function(item, f"tools[{index}]", budget) for index, item in enumerate(value))


def without_repeats(tools: Iterable[tuple[str, Tool]]) -> tuple[Tool, ...]:
    """Return the tools without duplicates. Each tool comes with the path of its function.

    Raises:
        BadRequest: two different tools have the same name.
    """
    by_name: dict[str, Tool] = {}
    for where, tool in tools:
        if by_name.setdefault(tool.name, tool) != tool:
            raise wrong_value(f"{where}.name", "a name that no other tool has", tool.name)
    return tuple(by_name.values())


def read_function(item: Any, where: str, budget: Budget) -> tuple[str, Tool]:
    """Check a tool in any of its formats.

    In OpenAI's APIs the function is in `function`, or beside `type`. In Claude's API a tool has `input_schema`, and the
    type `custom` or none.

    Returns:
        The path of the function, and the tool.

    Raises:
        BadRequest: with the invalid field, below `where`, in `param`.
    """
    if not isinstance(item, dict):
        raise wrong_type(where, "an object like {'type': 'function', 'function': ...}", item)
    kind = item.get("type") or "function"
    if kind != "function" and not (kind == "custom" and "input_schema" in item):
        raise unsupported_value(f"{where}.type", "Only tools of type 'function' can be offered to Claude.")
    if item.get("function") is not None or "name" not in item:
        item, where = item.get("function"), f"{where}.function"
    return where, function_tool(item, where, budget)


def function_tool(function: Any, where: str, budget: Budget) -> Tool:
    """Check a function's name, description and parameters.

    Raises:
        BadRequest: with the invalid field, below `where`, in `param`.
    """
    if function is None:
        raise missing(where, "Send an object with 'name' and 'parameters'.")
    if not isinstance(function, dict):
        raise wrong_type(where, "an object", function)
    name, description = named(function, where, "Send the name of the function.", MAX_NAME_CHARS)
    key = "parameters" if function.get("input_schema") is None else "input_schema"
    parameters = function.get(key)
    if parameters is None:
        parameters = _NO_ARGUMENTS
    place = f"{where}.{key}"
    text, validator = object_schema(parameters, place, code=BAD_PARAMETERS, budget=budget)
    return Tool(name, description, text, validator, _claude_schema(parameters, text, validator, place, budget))


def _claude_schema(schema: Any, text: str, validator: "ArgumentValidator", where: str, budget: Budget) -> str:
    """Return the schema rewritten for draft 2020-12, which Claude's API requires; "" if it is valid unchanged.

    The result is cached with the validator, because clients send the same tools with every request, and costs the same
    steps again.
    """
    if not schema.get("$schema"):
        return ""
    try:
        if validator.claude_schema is None:
            before = budget.spent
            claude_schema = _by_latest_draft(schema, text, validator, where, budget)
            validator.claude_schema = claude_schema, budget.spent - before
        else:
            budget.spend(validator.claude_schema[1])
    except TooMuchWork as error:
        raise too_much_work(where, error, BAD_PARAMETERS) from None
    return validator.claude_schema[0]


def _by_latest_draft(schema: Any, text: str, validator: "ArgumentValidator", where: str, budget: Budget) -> str:
    from claude_openai.protocol.json_schema.drafts import draft_of
    from claude_openai.protocol.json_schema.metaschema import InvalidSchema, check_schema

    try:
        check_schema(schema, draft_of({}), budget)
        return ""
    except InvalidSchema:
        from claude_openai.protocol.json_schema.claude_dialect import CannotBeTranslated, to_claude_schema

        try:
            return to_claude_schema(text, validator.document, budget)
        except CannotBeTranslated as error:
            raise BadRequest(f"'{where}' {error}", code=BAD_PARAMETERS, param=where) from None
