"""Reads `tool_choice` in the formats of OpenAI's two APIs and of Claude's API, all of which clients send."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from claude_openai.protocol.turn.tools import ChoiceMode, Tool, ToolChoice
from claude_openai.protocol.wire.bad_request import missing, unsupported_value, wrong_type, wrong_value

__all__ = ["CHOICES", "allows_parallel_calls", "offered_tools", "read_choice", "read_tool_choice"]


CHOICES: Final = "Send 'none', 'auto', 'required', {'type': 'function', ...} or {'type': 'allowed_tools', ...}."
# Modes in OpenAI's APIs and in Claude's API.
_MODES: Final[Mapping[str, ChoiceMode]] = {"none": "none", "auto": "auto", "required": "required", "any": "required"}


def read_tool_choice(value: Any, tools: Sequence[Tool], param: str = "tool_choice") -> ToolChoice:
    """Check `tool_choice` against the tools.

    Raises:
        BadRequest: it is malformed, or names an unknown tool.
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
    """Return whether one answer may call several tools. Claude's format of a choice contains it too."""
    choice = fields.get("tool_choice")
    disabled = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    return not disabled and bool(fields.get("parallel_tool_calls", True))


def read_choice(value: Any, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Return the tools that `tool_choice` allows, and the choice among them.

    Raises:
        BadRequest: it is malformed, or names an unknown tool.
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
    """Return the tools to offer to Claude."""
    if choice.mode == "none":
        return ()
    return tuple(tool for tool in tools if choice.name in (None, tool.name))
