"""The functions of the client, checked, and the check of the arguments Claude gives them.

Knows names and `tool_choice`, in each of the forms that clients send: those of OpenAI's two APIs, and that of Claude's.
JSON Schema is `schemas`' business. Does not know how a tool is offered to Claude or who runs it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from claude_openai.protocol.openai.bad_request import missing, shorten, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.openai.field_types import boolean

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = [
    "CHOICES",
    "MAX_NAME_CHARS",
    "ArgumentChecker",
    "Tool",
    "ToolChoice",
    "allows_parallel_calls",
    "function_tool",
    "object_schema",
    "offered_tools",
    "read_choice",
    "read_function",
    "read_tool_choice",
    "read_tools",
    "without_repeats",
]

ChoiceMode: TypeAlias = Literal["auto", "none", "required"]

# Claude's API takes 128, of which the prefix of an MCP server takes some.
MAX_NAME_CHARS: Final = 112
_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}")
_NO_ARGUMENTS: Final = {"type": "object", "properties": {}}
CHOICES: Final = "Send 'none', 'auto', 'required', {'type': 'function', ...} or {'type': 'allowed_tools', ...}."
# OpenAI takes 128 and Claude's API more: users with many MCP servers choose Claude for it.
MAX_TOOLS: Final = 1024
# The words for a choice, in OpenAI's APIs and in Claude's.
_MODES: Final[Mapping[str, ChoiceMode]] = {"none": "none", "auto": "auto", "required": "required", "any": "required"}
BAD_PARAMETERS: Final = "invalid_function_parameters"
# Of one check. The 30,000 values or so that Claude can write at once take about a tenth of it with an ordinary schema.
CHECK_STEPS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of the client.

    Attributes:
        parameters: its JSON Schema as compact JSON with the client's own order of keys.
        validator: checks arguments against it.
        said_anew: the same schema by draft 2020-12, "" if it is valid by that already.
    """

    name: str
    description: str
    parameters: str
    validator: "ArgumentValidator" = field(compare=False, repr=False)
    said_anew: str = field(default="", compare=False, repr=False)

    @property
    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(self.parameters)
        return schema


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`required` with a name asks for that tool; without, for any."""

    mode: ChoiceMode = "auto"
    name: str | None = None


def read_tools(value: Sequence[Any], budget: Budget, param: str = "tools") -> tuple[Tool, ...]:
    """Check the `tools` of a request.

    Args:
        value: the tools.
        budget: of the request.
        param: their place in it.

    Raises:
        BadRequest: naming the place, like `tools[2].function.parameters`.
    """
    if len(value) > MAX_TOOLS:
        raise wrong_value(param, f"at most {MAX_TOOLS} tools")
    return without_repeats(read_function(item, f"{param}[{index}]", budget) for index, item in enumerate(value))


def without_repeats(tools: Iterable[tuple[str, Tool]]) -> tuple[Tool, ...]:
    """The tools, each with the place of its function; one that comes twice is taken once.

    Raises:
        BadRequest: two that differ have one name.
    """
    by_name: dict[str, Tool] = {}
    for where, tool in tools:
        if by_name.setdefault(tool.name, tool) != tool:
            raise wrong_value(f"{where}.name", "a name that no other tool has", tool.name)
    return tuple(by_name.values())


def read_function(item: Any, where: str, budget: Budget) -> tuple[str, Tool]:
    """Check a tool in any of its forms.

    OpenAI's APIs have the function in `function`, or beside `type`. Claude's has `input_schema`, and no type or
    `custom`.

    Returns:
        The place of the function, and the tool.

    Raises:
        BadRequest: naming the place below `where`.
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
        BadRequest: naming the place below `where`.
    """
    if function is None:
        raise missing(where, "Send an object with 'name' and 'parameters'.")
    if not isinstance(function, dict):
        raise wrong_type(where, "an object", function)
    name, description = function.get("name"), function.get("description")
    if name is None:
        raise missing(f"{where}.name", "Send the name of the function.")
    if not isinstance(name, str):
        raise wrong_type(f"{where}.name", "a string", name)
    if not _NAME.fullmatch(name):
        raise wrong_value(f"{where}.name", f"1 to {MAX_NAME_CHARS} letters, digits, '_' or '-'", name)
    if description is None:
        description = ""
    if not isinstance(description, str):
        raise wrong_type(f"{where}.description", "a string", description)
    if function.get("strict") is not None:
        boolean(f"{where}.strict", function["strict"])
    key = "parameters" if function.get("input_schema") is None else "input_schema"
    parameters = function.get(key)
    if parameters is None:
        parameters = _NO_ARGUMENTS
    place = f"{where}.{key}"
    text, validator = object_schema(parameters, place, code=BAD_PARAMETERS, budget=budget)
    return Tool(name, description, text, validator, _said_anew(parameters, text, validator, place, budget))


def _said_anew(schema: Any, text: str, validator: "ArgumentValidator", where: str, budget: Budget) -> str:
    """A schema of another draft as Claude's API takes it, which wants it valid by draft 2020-12.

    It is kept with the validator, and costs then what it did: clients send the same tools with every request.
    """
    if not schema.get("$schema"):
        return ""
    try:
        if validator.said_anew is None:
            before = budget.spent
            said_anew = _by_latest_draft(schema, text, validator, where, budget)
            validator.said_anew = said_anew, budget.spent - before
        else:
            budget.spend(validator.said_anew[1])
    except TooMuchWork as error:
        raise too_much_work(where, error, BAD_PARAMETERS) from None
    return validator.said_anew[0]


def _by_latest_draft(schema: Any, text: str, validator: "ArgumentValidator", where: str, budget: Budget) -> str:
    from claude_openai.protocol.json_schema.drafts import draft_of
    from claude_openai.protocol.json_schema.metaschema import InvalidSchema, check_schema

    try:
        check_schema(schema, draft_of({}), budget)
        return ""
    except InvalidSchema:
        from claude_openai.protocol.json_schema.claude_dialect import CannotBeAdapted, adapted_schema

        try:
            return adapted_schema(text, validator.document, budget)
        except CannotBeAdapted as error:
            raise BadRequest(f"'{where}' {error}", code=BAD_PARAMETERS, param=where) from None


def object_schema(schema: Any, where: str, *, code: str, budget: Budget) -> tuple[str, "ArgumentValidator"]:
    """A JSON Schema of objects that can be used, as compact JSON with the client's own order of keys.

    Raises:
        BadRequest: with this code if it is no valid schema, or too much work.
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


def too_much_work(where: str, error: TooMuchWork, code: str) -> BadRequest:
    """The error for a schema with which the budget of the request is spent."""
    message = (
        f"'{where}' cannot be checked: it takes {error}, together with what stands before it. Send simpler schemas."
    )
    return BadRequest(message, code=code, param=where)


def read_tool_choice(value: Any, tools: Sequence[Tool], param: str = "tool_choice") -> ToolChoice:
    """Check `tool_choice` against the tools.

    Raises:
        BadRequest: it is malformed, or names a tool that is not there.
    """
    word = value.get("type") if isinstance(value, dict) else value
    if isinstance(word, str) and word in _MODES:
        mode = _MODES[word]
        if mode == "required" and not tools:
            raise wrong_value(param, f"tools too: {word!r} needs some", word)
        return ToolChoice(mode)
    if isinstance(value, str):
        raise wrong_value(param, "'none', 'auto', 'required', or {'type': 'function', ...}", value)
    if not isinstance(value, dict):
        raise wrong_type(param, "a string or an object", value)
    if word not in ("function", "tool"):
        raise unsupported_value(f"{param}.type", CHOICES)
    name = _name_in(value)
    if not isinstance(name, str):
        place = f"{param}.function.name" if "function" in value else f"{param}.name"
        raise missing(place, "Send the name of one of the tools.")
    if name not in {tool.name for tool in tools}:
        raise wrong_value(param, "the name of one of the tools", name)
    return ToolChoice("required", name)


def _name_in(item: Mapping[str, Any]) -> Any:
    function = item.get("function")
    return function.get("name") if isinstance(function, dict) else item.get("name")


def allows_parallel_calls(fields: Mapping[str, Any]) -> bool:
    """Whether one answer may call several tools; Claude's form of a choice says it too."""
    choice = fields.get("tool_choice")
    disabled = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    return not disabled and bool(fields.get("parallel_tool_calls", True))


def read_choice(value: Any, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    """The tools that `tool_choice` leaves, and the choice among them.

    Raises:
        BadRequest: it is malformed, or names a tool that is not there.
    """
    if not isinstance(value, dict) or value.get("type") != "allowed_tools":
        return tools, read_tool_choice(value, tools)
    if value.get("allowed_tools") is None:
        return _allowed(value, tools, "tool_choice")
    if not isinstance(value["allowed_tools"], dict):
        raise wrong_type("tool_choice.allowed_tools", "an object with 'mode' and 'tools'", value["allowed_tools"])
    return _allowed(value["allowed_tools"], tools, "tool_choice.allowed_tools")


def _allowed(value: Mapping[str, Any], tools: Sequence[Tool], where: str) -> tuple[tuple[Tool, ...], ToolChoice]:
    listed, mode = value.get("tools"), value.get("mode")
    if not isinstance(listed, list):
        raise wrong_type(f"{where}.tools", "an array of tools", listed)
    by_name = {tool.name: tool for tool in tools}
    allowed = set()
    for index, item in enumerate(listed):
        name = _name_in(item) if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in by_name:
            raise wrong_value(f"{where}.tools[{index}]", "one of the tools, by its name")
        allowed.add(name)
    if not listed:
        raise wrong_value(f"{where}.tools", "at least one tool")
    if mode is None:
        raise missing(f"{where}.mode", "Send 'auto' or 'required'.")
    if mode not in ("auto", "required"):
        raise wrong_value(f"{where}.mode", "'auto' or 'required'")
    return tuple(tool for tool in tools if tool.name in allowed), ToolChoice(mode)


def offered_tools(tools: Sequence[Tool], choice: ToolChoice) -> tuple[Tool, ...]:
    """Those that Claude is to see."""
    if choice.mode == "none":
        return ()
    return tuple(tool for tool in tools if choice.name in (None, tool.name))


class ArgumentChecker:
    """Checks the arguments of calls against the full schemas of the tools.

    Args:
        tools: those that may be called.
        clock: seconds, for the time that the patterns of a schema take.
    """

    def __init__(self, tools: Sequence[Tool], clock: Callable[[], float]) -> None:
        self._validators = {tool.name: tool.validator for tool in tools}
        self._clock = clock

    def problem(self, name: str, arguments: object) -> str | None:
        """What is wrong with a call, in words for Claude; None if nothing is."""
        validator = self._validators.get(name)
        if validator is None:
            return f"There is no tool named {shorten(name)}."
        if not isinstance(arguments, dict):
            return "The arguments must be a JSON object."
        problem = validator.problem(arguments, Budget(CHECK_STEPS, self._clock))
        if problem is None:
            return None
        return f"The arguments do not fit the tool's schema: {problem}. Call it again with arguments that do."
