"""The tools of the Responses API -> those that Claude is to see.

Knows the flat form of functions, and namespaces, which Codex sends: a function of one is offered under a name with its
namespace before it, and a call of it is told with both. Tools that OpenAI runs, or whose calls have a form of their
own, are refused by name: without them an answer would be wrong. One is left out: the web search of Codex, which comes
with every request of it, wanted or not, and is told from others by a key; the answer lists the tools without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from claude_openai.protocol.budget import Budget
from claude_openai.protocol.refusals import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.tools import (
    CHOICES,
    MAX_TOOLS,
    Tool,
    ToolChoice,
    function_tool,
    offered_tools,
    read_allowed,
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
        choice_echo: the choice as the answer repeats it.
        echo: those that were taken, likewise.
        namespaces: for each function of a namespace, by the name that Claude sees: the namespace and its own name.
    """

    offered: tuple[Tool, ...]
    choice: ToolChoice
    choice_echo: str | Mapping[str, Any] = "auto"
    echo: tuple[Mapping[str, Any], ...] = ()
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def joined_name(namespace: str, name: str) -> str:
    """The name under which Claude sees a function of a namespace."""
    return f"{namespace}__{name}"


def read_responses_tools(tools: Sequence[Any], choice: Any, budget: Budget) -> ResponsesTools:
    """Check `tools` and `tool_choice` of a request, whose budget is given.

    Raises:
        BadRequest: naming the place, like `tools[2].parameters`.
    """
    found = [entry for index, item in enumerate(tools) for entry in _entries(item, f"tools[{index}]", budget)]
    if len(found) > MAX_TOOLS:
        raise wrong_value("tools", f"at most {MAX_TOOLS} tools")
    names: set[str] = set()
    for where, tool, _ in found:
        if tool.name in names:
            raise wrong_value(f"{where}.name", "a name that no other tool has", tool.name)
        names.add(tool.name)
    all_tools = [tool for _, tool, _ in found]
    allowed, chosen = _choice(choice, all_tools)
    return ResponsesTools(
        offered=offered_tools(allowed, chosen),
        choice=chosen,
        choice_echo=_choice_echo(choice),
        echo=tuple(_echo(item) for item in tools if not _is_left_out(item)),
        namespaces={tool.name: names_of_it for _, tool, names_of_it in found if names_of_it is not None},
    )


def _entries(item: Any, where: str, budget: Budget) -> Iterator[tuple[str, Tool, tuple[str, str] | None]]:
    if not isinstance(item, dict):
        raise wrong_type(where, "an object like {'type': 'function', 'name': ...}", item)
    kind = item.get("type", "function")
    if kind == "function":
        yield where, function_tool(item, where, budget), None
    elif kind == "namespace":
        yield from _of_namespace(item, where, budget)
    elif not _is_left_out(item):
        message = "Only tools of type 'function', and namespaces of them, can be offered to Claude. Leave it out."
        raise unsupported_value(f"{where}.type", message)


def _of_namespace(item: Mapping[str, Any], where: str, budget: Budget) -> Iterator[tuple[str, Tool, tuple[str, str]]]:
    namespace, functions = item.get("name"), item.get("tools")
    if not isinstance(namespace, str) or not namespace:
        raise wrong_type(f"{where}.name", "a string", namespace)
    if not isinstance(item.get("description") or "", str):
        raise wrong_type(f"{where}.description", "a string", item["description"])
    if not isinstance(functions, list):
        raise wrong_type(f"{where}.tools", "an array of functions", functions)
    for index, function in enumerate(functions):
        place = f"{where}.tools[{index}]"
        if not isinstance(function, dict) or function.get("type", "function") != "function":
            raise unsupported_value(place, "Only functions of a namespace can be offered to Claude. Leave it out.")
        tool = function_tool(function, place, budget)
        name = joined_name(namespace, tool.name)
        if len(name) > MAX_NAME_CHARS:
            raise wrong_value(f"{place}.name", f"a name of at most {MAX_NAME_CHARS} characters, namespace included")
        yield place, replace(tool, name=name), (namespace, tool.name)


def _is_left_out(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "web_search" and "external_web_access" in item


def _echo(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item.get("type") != "namespace":
        # The answer has every key, asked for or not.
        return {"type": "function", **{key: item.get(key) for key in _FUNCTION_KEYS}}
    functions = [{"type": "function", **function} for function in item["tools"]]
    return {"type": "namespace", "name": item["name"], "description": item.get("description") or "", "tools": functions}


def _choice_echo(choice: Any) -> str | Mapping[str, Any]:
    keys = ("type", "name") if isinstance(choice, dict) and choice["type"] == "function" else ("type", "mode", "tools")
    return {key: choice[key] for key in keys} if isinstance(choice, dict) else str(choice)


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
            return read_allowed(value, tools, "tool_choice", lambda item: item.get("name"))
    raise unsupported_value("tool_choice.type", CHOICES)
