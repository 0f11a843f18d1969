"""A chat request in the form of the Responses API, and the answer of that as a message of a chat."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["CHAT", "RESPONSES", "as_message", "as_responses"]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"

_NAMES: Final = {"max_completion_tokens": "max_output_tokens"}
_SAME: Final = ("model", "user", "parallel_tool_calls")


def as_responses(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request; each message is an item, and each call and each result another."""
    asked: dict[str, Any] = {name: body[name] for name in _SAME if name in body}
    asked |= {new: body[old] for old, new in _NAMES.items() if old in body}
    if "reasoning_effort" in body:
        asked["reasoning"] = {"effort": body["reasoning_effort"]}
    if "tools" in body:
        asked["tools"] = [{"type": "function", **tool["function"]} for tool in body["tools"]]
    if "response_format" in body:
        asked["text"] = {"format": {"type": "json_schema", **body["response_format"]["json_schema"]}}
    if "tool_choice" in body:
        choice = body["tool_choice"]
        asked["tool_choice"] = choice if isinstance(choice, str) else {"type": "function", **choice["function"]}
    return {**asked, "input": [item for message in body["messages"] for item in _items(message)]}


def as_message(response: Mapping[str, Any]) -> dict[str, Any]:
    """What a response says, as the message of a chat completion."""
    texts = [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]
    calls = [
        {"id": i["call_id"], "type": "function", "function": {"name": i["name"], "arguments": i["arguments"]}}
        for i in response["output"]
        if i["type"] == "function_call"
    ]
    return {"role": "assistant", "content": "".join(texts) or None, **({"tool_calls": calls} if calls else {})}


def _items(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    content = message["content"]
    if isinstance(content, list):
        content = [_part(part) for part in content]
    if message["role"] == "tool":
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": content}
        return
    if content:
        yield {"type": "message", "role": message["role"], "content": content}
    for call in message.get("tool_calls", ()):
        yield {"type": "function_call", "call_id": call["id"], **call["function"]}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "input_text", "text": part["text"]}
    if part["type"] == "file":
        return {"type": "input_file", **part["file"]}
    return {"type": "input_image", "image_url": part["image_url"]["url"]}
