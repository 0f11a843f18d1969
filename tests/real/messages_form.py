"""A chat request in the form of Claude's Messages API, and the answer of that as a message of a chat."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.real.heard import is_of_system, split_url

__all__ = ["MESSAGES", "as_messages", "chat_message"]

MESSAGES = "/v1/messages"

_NAMES: Final = {"max_completion_tokens": "max_tokens"}
_CHOICES: Final = {"required": "any"}


def as_messages(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request; results are blocks of user messages, and leading system messages are the system prompt."""
    asked: dict[str, Any] = {"model": body["model"]} | {new: body[old] for old, new in _NAMES.items() if old in body}
    if "user" in body:
        asked["metadata"] = {"user_id": body["user"]}
    if "reasoning_effort" in body:
        asked["output_config"] = {"effort": body["reasoning_effort"]}
    if "tools" in body:
        asked["tools"] = [_tool(tool["function"]) for tool in body["tools"]]
    if "tool_choice" in body or "parallel_tool_calls" in body:
        choice = body.get("tool_choice", "auto")
        named = {"type": "tool", "name": choice["function"]["name"]} if isinstance(choice, dict) else {}
        asked["tool_choice"] = {
            "type": _CHOICES.get(choice, choice) if isinstance(choice, str) else "tool",
            **named,
            "disable_parallel_tool_use": not body.get("parallel_tool_calls", True),
        }
    if "response_format" in body:
        asked["output_format"] = {"type": "json_schema", "schema": body["response_format"]["json_schema"]["schema"]}
    messages = list(body["messages"])
    system = []
    while messages and is_of_system(messages[0]):
        system.append({"type": "text", "text": messages.pop(0)["content"]})
    return {**asked, **({"system": system} if system else {}), "messages": [_message(each) for each in messages]}


def chat_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says, as the message of a chat completion."""
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    return {"role": "assistant", "content": text or None, **({"tool_calls": calls} if calls else {})}


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters", {"type": "object", "properties": {}})
    return {"name": function["name"], "description": function.get("description", ""), "input_schema": schema}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message["content"]
    parts = [_block(part) for part in content] if isinstance(content, list) else content
    if message["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": parts}
        return {"role": "user", "content": [result]}
    if not message.get("tool_calls"):
        return {"role": "system" if is_of_system(message) else message["role"], "content": parts}
    text = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts or []
    return {"role": "assistant", "content": [*text, *_calls(message)]}


def _calls(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for call in message["tool_calls"]:
        function = call["function"]
        yield {
            "type": "tool_use",
            "id": call["id"],
            "name": function["name"],
            "input": json.loads(function["arguments"]),
        }


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "file":
        kind, data = split_url(part["file"]["file_data"])
        source = {"type": "base64", "media_type": kind, "data": data}
        if kind == "text/plain":
            source = {"type": "text", "media_type": kind, "data": base64.b64decode(data).decode()}
        return {"type": "document", "source": source, "title": part["file"]["filename"]}
    kind, data = split_url(part["image_url"]["url"])
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
