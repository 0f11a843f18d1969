"""Converts the tools of the Responses API to tools for Claude.

Functions may be in namespaces, which Codex sends: Claude gets the function under a name with the namespace as prefix,
and calls are reported with both names. Tools that OpenAI runs, or whose calls have a different format, are rejected,
because an answer without them would be wrong. The exception is the web search that Codex adds to every request, which
is recognized by a key: it is dropped, and the answer lists the tools without it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.turn.tools import MAX_NAME_CHARS, Tool, ToolChoice
from claude_openai.protocol.wire.bad_request import wrong_type, wrong_value
from claude_openai.protocol.wire.tool_choice import offered_tools, read_choice
from claude_openai.protocol.wire.tools import MAX_TOOLS, read_function, without_repeats

__all__ = ["ResponsesTools", "read_responses_tools"]

# Tools with their paths in the request.
Placed: TypeAlias = Iterable[tuple[str, Any]]

_FUNCTION_KEYS: Final = ("name", "description", "parameters", "strict")


@dataclass(frozen=True, slots=True)
class ResponsesTools:
    """The tools of one request.

    Attributes:
        offered: the tools to offer to Claude.
        choice: the tool choice.
        choice_echo: the tool choice as repeated in the answer.
        echo: the accepted tools as repeated in the answer.
        namespaces: Claude's name of each function in a namespace -> the namespace, and the function's name in it.
    """

    offered: tuple[Tool, ...]
    choice: ToolChoice
    choice_echo: str | Mapping[str, Any] = "auto"
    echo: tuple[Mapping[str, Any], ...] = ()
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def joined_name(namespace: str, name: str) -> str:
    """Return Claude's name of a function of a namespace."""
    return f"{namespace}__{name}"


def read_responses_tools(tools: Sequence[Any], added: Placed, choice: Any, budget: Budget) -> ResponsesTools:
    """Check the tools and the `tool_choice` of a request.

    Args:
        tools: the field `tools`.
        added: tools from the input, with their paths.
        choice: the field `tool_choice`.
        budget: the budget of the request.

    Raises:
        BadRequest: with the invalid field in `param`, like `tools[2].parameters`.
    """
    placed = [*((f"tools[{index}]", item) for index, item in enumerate(tools)), *added]
    found = [entry for where, item in placed for entry in _entries(item, where, budget)]
    if len(found) > MAX_TOOLS:
        raise wrong_value("tools", f"at most {MAX_TOOLS} tools")
    all_tools = without_repeats((where, tool) for where, tool, _ in found)
    allowed, chosen = read_choice(choice, all_tools)
    return ResponsesTools(
        offered=offered_tools(allowed, chosen),
        choice=chosen,
        choice_echo=_choice_echo(choice, chosen),
        echo=tuple(_echo(item) for _, item in placed if not _is_left_out(item)),
        namespaces={tool.name: names_of_it for _, tool, names_of_it in found if names_of_it is not None},
    )


def _entries(item: Any, where: str, budget: Budget) -> Iterator[tuple[str, Tool, tuple[str, str] | None]]:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "namespace":
        yield from _of_namespace(item, where, budget)
    elif kind is None or not _is_left_out(item):
        yield *read_function(item, where, budget), None


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
        place, tool = read_function(function, place, budget)
        name = joined_name(namespace, tool.name)
        if len(name) > MAX_NAME_CHARS:
            raise wrong_value(f"{place}.name", f"a name of at most {MAX_NAME_CHARS} characters, namespace included")
        yield place, replace(tool, name=name), (namespace, tool.name)


def _is_left_out(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "web_search" and "external_web_access" in item


def _echo(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item.get("type") != "namespace":
        function = item.get("function") or item
        # The answer has all keys, even if the request does not.
        echo = {"type": "function", **{key: function.get(key) for key in _FUNCTION_KEYS}}
        return echo if function.get("input_schema") is None else {**echo, "parameters": function["input_schema"]}
    functions = [{"type": "function", **function} for function in item["tools"]]
    return {"type": "namespace", "name": item["name"], "description": item.get("description") or "", "tools": functions}


def _choice_echo(choice: Any, chosen: ToolChoice) -> str | Mapping[str, Any]:
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools") or choice
        return {"type": "allowed_tools", "mode": inner["mode"], "tools": inner["tools"]}
    return chosen.mode if chosen.name is None else {"type": "function", "name": chosen.name}
