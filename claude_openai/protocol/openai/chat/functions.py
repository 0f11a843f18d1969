"""OpenAI's predecessor of tools: `functions`, `function_call`, and messages of role `function`.

Old clients still send them. They are converted to tools, with one call at a time, and the answer is converted back
(`completion.py`). These calls have no id, so the id is made from the position of the message, and the result is the
message after it.
"""

from collections.abc import Sequence
from typing import Any

from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.turn.tools import Tool, ToolChoice
from claude_openai.protocol.wire.bad_request import missing, wrong_type, wrong_value
from claude_openai.protocol.wire.tool_choice import read_tool_choice
from claude_openai.protocol.wire.tools import MAX_TOOLS, function_tool, without_repeats

__all__ = ["modern_messages", "read_function_call", "read_functions"]


def read_functions(value: Sequence[Any], budget: Budget) -> tuple[Tool, ...]:
    """Check the `functions` of a request, within its budget.

    Raises:
        BadRequest: with the invalid field in `param`, like `functions[2].parameters`.
    """
    if len(value) > MAX_TOOLS:
        raise wrong_value("functions", f"at most {MAX_TOOLS} functions")
    places = (f"functions[{index}]" for index in range(len(value)))
    return without_repeats(
        (where, function_tool(item, where, budget)) for where, item in zip(places, value, strict=True)
    )


def read_function_call(value: Any, tools: Sequence[Tool]) -> ToolChoice:
    """Check `function_call` against the functions.

    Raises:
        BadRequest: it is malformed, or names an unknown function.
    """
    param = "function_call"
    if isinstance(value, str):
        if value not in ("none", "auto"):
            raise wrong_value(param, "'none', 'auto', or {'name': ...}", value)
        return read_tool_choice(value, tools, param)
    if not isinstance(value.get("name"), str):
        raise missing(f"{param}.name", "Send the name of one of the functions.")
    return read_tool_choice({"type": "function", "function": {"name": value["name"]}}, tools, param)


def modern_messages(messages: Sequence[Any]) -> list[Any]:
    """Return the messages, with calls and results of functions converted to those of tools.

    Raises:
        BadRequest: with the invalid field in `param`, like `messages[2].function_call.name`.
    """
    modern = []
    called: tuple[str, str] | None = None
    for index, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "function":
            modern.append(_result(message, called, f"messages[{index}]"))
            called = None
        elif isinstance(message, dict) and message.get("function_call"):
            call = message["function_call"]
            _check_call(call, f"messages[{index}].function_call")
            called = (f"function_{index}", call["name"])
            modern.append({**message, "function_call": None, "tool_calls": [{"id": called[0], "function": call}]})
        else:
            modern.append(message)
    return modern


def _check_call(call: Any, where: str) -> None:
    if not isinstance(call, dict):
        raise wrong_type(where, "an object with 'name' and 'arguments'", call)
    if not isinstance(call.get("name"), str) or not call["name"]:
        raise wrong_type(f"{where}.name", "a string", call.get("name"))
    if not isinstance(call.get("arguments") or "", str):
        raise wrong_type(f"{where}.arguments", "a string of JSON", call["arguments"])


def _result(message: dict[str, Any], called: tuple[str, str] | None, path: str) -> dict[str, Any]:
    if called is None:
        raise wrong_value(f"{path}.role", "a function message only after the assistant's function_call", "function")
    if message.get("name") != called[1]:
        raise wrong_value(f"{path}.name", f"the name of the function that was called, {called[1]!r}")
    return {"role": "tool", "tool_call_id": called[0], "content": message.get("content")}
