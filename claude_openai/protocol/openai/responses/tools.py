"""Converts the tools of the Responses API to tools for Claude.

Functions may be in namespaces, which Codex sends: Claude gets the function under a name with the namespace as prefix,
and calls are reported with both names. Tools that OpenAI runs, or whose calls have a different format, are rejected,
because an answer without them would be wrong. For web search Claude Code's tool is offered, if the server allows it.
The web search that Codex adds to every request has the key `external_web_access`: if search is not allowed, or the key
is false, the tool is dropped, and the answer lists the tools without it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.web_search import SEARCH_TYPES, check_allowed, read_search_tool
from claude_openai.protocol.turn.claude_options import WebSearch
from claude_openai.protocol.turn.tools import MAX_NAME_CHARS, Tool, ToolChoice
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_type, wrong_value
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
        search: the web search to offer.
    """

    offered: tuple[Tool, ...]
    choice: ToolChoice
    choice_echo: str | Mapping[str, Any] = "auto"
    echo: tuple[Mapping[str, Any], ...] = ()
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    search: WebSearch | None = None


def joined_name(namespace: str, name: str) -> str:
    """Return Claude's name of a function of a namespace."""
    return f"{namespace}__{name}"


def read_responses_tools(
    tools: Sequence[Any],
    added: Placed,
    choice: Any,
    budget: Budget,
    *,
    may_search: bool = False,
    max_searches: int | None = None,
) -> ResponsesTools:
    """Check the tools and the `tool_choice` of a request.

    Args:
        tools: the field `tools`.
        added: tools from the input, with their paths.
        choice: the field `tool_choice`.
        budget: the budget of the request.
        may_search: whether web search is allowed.
        max_searches: the largest number of searches in the answer; None for no limit.

    Raises:
        BadRequest: with the invalid field in `param`, like `tools[2].parameters`.
    """
    given = [*((f"tools[{index}]", item) for index, item in enumerate(tools)), *added]
    placed = [(where, item) for where, item in given if not _is_left_out(item, may_search=may_search)]
    searches = [(where, item) for where, item in placed if _is_search(item)]
    for where, _ in searches:
        check_allowed(f"{where}.type", may_search=may_search)
    search = _search(searches, max_searches)
    found = [entry for where, item in placed for entry in _entries(item, where, budget)]
    if len(found) > MAX_TOOLS:
        raise wrong_value("tools", f"at most {MAX_TOOLS} tools")
    all_tools = without_repeats((where, tool) for where, tool, _ in found)
    functions_choice, has_search = (choice, False) if search is None else _choice_beside_search(choice)
    allowed, chosen = read_choice(functions_choice, all_tools)
    return ResponsesTools(
        offered=offered_tools(allowed, chosen),
        choice=chosen,
        choice_echo=_choice_echo(choice, chosen),
        echo=tuple(_echo(item) for _, item in placed),
        namespaces={tool.name: names_of_it for _, tool, names_of_it in found if names_of_it is not None},
        search=search if has_search else None,
    )


def _entries(item: Any, where: str, budget: Budget) -> Iterator[tuple[str, Tool, tuple[str, str] | None]]:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "namespace":
        yield from _of_namespace(item, where, budget)
    elif not _is_search(item):
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


def _is_search(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") in SEARCH_TYPES


def _is_left_out(item: Any, *, may_search: bool) -> bool:
    if not _is_search(item) or "external_web_access" not in item:
        return False
    return not may_search or item["external_web_access"] is False


def _search(searches: Sequence[tuple[str, Mapping[str, Any]]], max_uses: int | None) -> WebSearch | None:
    found = None
    for where, item in searches:
        search = read_search_tool(item, where, max_uses)
        if found not in (None, search):
            raise wrong_value(where, "one web search, or several that are equal")
        found = search
    return found


def _choice_beside_search(choice: Any) -> tuple[Any, bool]:
    """Return the choice among the functions, and whether the web search may be used.

    Raises:
        BadRequest: it requires a search, or a call that may be a search.
    """
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if kind in ("required", "any", *SEARCH_TYPES):
        raise unsupported_value("tool_choice", "Claude decides whether it searches the web. Send 'auto'.")
    if kind != "allowed_tools":
        return choice, kind == "auto"
    inner = choice.get("allowed_tools") or choice
    listed = inner.get("tools") if isinstance(inner, dict) else None
    if not isinstance(listed, list) or not any(map(_is_search, listed)):
        return choice, False
    if inner.get("mode") == "required":
        raise unsupported_value("tool_choice", "Claude decides whether it searches the web. Send the mode 'auto'.")
    functions = [item for item in listed if not _is_search(item)]
    return ({"type": "allowed_tools", "mode": inner.get("mode"), "tools": functions} if functions else "none"), True


def _echo(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if _is_search(item):
        return {"user_location": None, **item, "search_context_size": item.get("search_context_size") or "medium"}
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
