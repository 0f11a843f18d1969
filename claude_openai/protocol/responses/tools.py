"""The tools of the Responses API -> those that Claude is to see.

Knows the flat form of functions, and namespaces, which Codex sends: a function of one is offered under a name with its
namespace before it, and a call of it is told with both. Tools that OpenAI runs, or whose calls have a form of their
own, are refused by name: without them an answer would be wrong. One is left out: the web search of Codex, which comes
with every request of it, wanted or not, and is told from others by a key; the answer lists the tools without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from claude_openai.protocol.refusals import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.tools import (
    MAX_TOOLS,
    Tool,
    ToolChoice,
    function_tool,
    offered_tools,
    read_tool_choice,
)

__all__ = ["ResponsesTools", "read_responses_tools"]

# Claude's API takes 128, of which the prefix of an MCP server takes some.
MAX_NAME_CHARS: Final = 112
_FUNCTION_KEYS: Final = ("name", "description", "parameters", "strict")


@dataclass(frozen=True, slots=True)
class ResponsesTools:
    """The tools of one request.

    Attributes:
        offered: those that Claude is to see.
        choice: whether, and which, must be called.
        echo: those that were taken, as the answer repeats them.
        namespaces: for each function of a namespace, by the name that Claude sees: the namespace and its own name.
    """

    offered: tuple[Tool, ...]
    choice: ToolChoice
    echo: tuple[Mapping[str, Any], ...] = ()
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def joined_name(namespace: str, name: str) -> str:
    """The name under which Claude sees a function of a namespace."""
    return f"{namespace}__{name}"


def read_responses_tools(tools: Sequence[Any], choice: Any) -> ResponsesTools:
    """Check `tools` and `tool_choice` of a request.

    Raises:
        BadRequest: naming the place, like `tools[2].parameters`.
    """
    found = [entry for index, item in enumerate(tools) for entry in _entries(item, f"tools[{index}]")]
    if len(found) > MAX_TOOLS:
        raise wrong_value("tools", f"at most {MAX_TOOLS} tools")
    names = [tool.name for _, tool, _ in found]
    for index, (where, tool, _) in enumerate(found):
        if tool.name in names[:index]:
            raise wrong_value(f"{where}.name", "a name that no other tool has", tool.name)
    all_tools = [tool for _, tool, _ in found]
    allowed, chosen = _choice(choice, all_tools)
    return ResponsesTools(
        offered=offered_tools(allowed, chosen),
        choice=chosen,
        echo=tuple(_echo(item) for item in tools if not _is_left_out(item)),
        namespaces={tool.name: names_of_it for _, tool, names_of_it in found if names_of_it is not None},
    )


def _entries(item: Any, where: str) -> Iterator[tuple[str, Tool, tuple[str, str] | None]]:
    if not isinstance(item, dict):
        raise wrong_type(where, "an object like {'type': 'function', 'name': ...}", item)
    kind = item.get("type", "function")
    if kind == "function":
        yield where, function_tool(item, where), None
    elif kind == "namespace":
        yield from _of_namespace(item, where)
    elif not _is_left_out(item):
        message = "Only tools of type 'function', and namespaces of them, can be offered to Claude. Leave it out."
        raise unsupported_value(f"{where}.type", message)


def _of_namespace(item: Mapping[str, Any], where: str) -> Iterator[tuple[str, Tool, tuple[str, str]]]:
    namespace, functions = item.get("name"), item.get("tools")
    if not isinstance(namespace, str) or not namespace:
        raise wrong_type(f"{where}.name", "a string", namespace)
    if not isinstance(functions, list):
        raise wrong_type(f"{where}.tools", "an array of functions", functions)
    for index, function in enumerate(functions):
        place = f"{where}.tools[{index}]"
        if not isinstance(function, dict) or function.get("type", "function") != "function":
            raise unsupported_value(place, "Only functions of a namespace can be offered to Claude. Leave it out.")
        tool = function_tool(function, place)
        name = joined_name(namespace, tool.name)
        if len(name) > MAX_NAME_CHARS:
            raise wrong_value(f"{place}.name", f"a name of at most {MAX_NAME_CHARS} characters, namespace included")
        yield place, replace(tool, name=name), (namespace, tool.name)


def _is_left_out(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "web_search" and "external_web_access" in item


def _echo(item: Mapping[str, Any]) -> Mapping[str, Any]:
    # The answer has every key, asked for or not.
    return item if item.get("type") == "namespace" else {"type": "function", **{k: item.get(k) for k in _FUNCTION_KEYS}}


def _choice(value: Any, tools: Sequence[Tool]) -> tuple[Sequence[Tool], ToolChoice]:
    """The tools that the choice leaves, and the choice among them."""
    if not isinstance(value, dict):
        return tools, read_tool_choice(value, tools)
    match value.get("type"):
        case "function":
            if not isinstance(value.get("name"), str):
                raise missing("tool_choice.name", "Send the name of one of the tools.")
            return tools, read_tool_choice({"type": "function", "function": value}, tools)
        case "allowed_tools":
            allowed = _allowed(value, tools)
            if value.get("mode", "auto") not in ("auto", "required"):
                raise wrong_value("tool_choice.mode", "'auto' or 'required'")
            return allowed, ToolChoice(value.get("mode", "auto"))
    advice = "Send 'none', 'auto', 'required', {'type': 'function', ...} or {'type': 'allowed_tools', ...}."
    raise unsupported_value("tool_choice.type", advice)


def _allowed(value: Mapping[str, Any], tools: Sequence[Tool]) -> list[Tool]:
    listed = value.get("tools")
    if not isinstance(listed, list):
        raise wrong_type("tool_choice.tools", "an array of tools", listed)
    by_name = {tool.name: tool for tool in tools}
    for index, item in enumerate(listed):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in by_name:
            raise wrong_value(f"tool_choice.tools[{index}]", "one of the tools, by its name")
    if not listed:
        raise wrong_value("tool_choice.tools", "at least one tool")
    names = {item["name"] for item in listed}
    return [tool for tool in tools if tool.name in names]
