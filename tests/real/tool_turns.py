"""Turns with tools of the client: how they are asked for, and what Claude was sent of them."""

from collections.abc import Sequence
from typing import Any

from claude_openai.testing import RecordedRequest, ToolUse
from tests.openai_schema import strict_openai_completion, validate
from tests.real.call import Call, chat
from tests.real.harness import Served

__all__ = ["ASKED", "KEPT", "LIST", "READ", "ask", "refused", "results", "upstream", "use"]


READ: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "read",
        "description": "Read a file",
        "parameters": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {"path": {"type": "string", "minLength": 1}, "limit": {"type": "integer"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
}
LIST = {"type": "function", "function": {"name": "list-files_2"}}
KEPT: dict[str, Any] = {"spares": 0, "max_idle_sessions": 4}
ASKED = [{"role": "user", "content": "What is in /a and /b?"}]


def use(number: int, path: str = "/a", **more: Any) -> ToolUse:
    return ToolUse("mcp__openai__read", {"path": path, **more}, f"toolu_{number}")


def results(answer: dict[str, Any], *texts: str) -> list[dict[str, Any]]:
    """The client's next messages: our answer, and a result for each of its calls."""
    message = answer["choices"][0]["message"]
    calls = message["tool_calls"]
    said = {"role": "assistant", "content": message["content"], "tool_calls": calls}
    pairs = zip(calls, texts, strict=True)
    return [said, *({"role": "tool", "tool_call_id": call["id"], "content": text} for call, text in pairs)]


def upstream(request: RecordedRequest) -> list[tuple[str, Any]]:
    """What Claude was sent, without Claude Code's own system messages."""
    return [(m["role"], _plain(m["content"])) for m in request.messages if m["role"] != "system"]


def _plain(content: Any) -> Any:
    if isinstance(content, str):
        return [content]
    return [_block(block) for block in content]


def _block(block: dict[str, Any]) -> Any:
    match block["type"]:
        case "text":
            return block["text"]
        case "tool_use":
            return (block["id"], block["name"], block["input"])
        case _:
            content = block["content"]
            said = content if isinstance(content, str) else "".join(part["text"] for part in content)
            return (block["tool_use_id"], said)


async def ask(served: Served, messages: Sequence[dict[str, Any]], **fields: Any) -> tuple[dict[str, Any], str]:
    async with Call.open(served.url, chat(messages, tools=[READ, LIST], **fields)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        validate("CreateChatCompletionResponse", answer)
        strict_openai_completion(answer)
        return answer, call.headers["x-claude-openai-conversation"]


async def refused(served: Served, messages: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    async with Call.open(served.url, chat(messages, **{"tools": [READ], **fields})) as call:
        status, answer = await call.answer()
        assert status >= 400, answer
        error: dict[str, Any] = answer["error"]
        return {"status": status, "x-should-retry": call.headers.get("x-should-retry"), **error}
