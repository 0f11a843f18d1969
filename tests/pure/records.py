"""Records of Claude Code, and a reader that they are fed to."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from claude_openai.errors import ApiError
from claude_openai.protocol.claude_code.effects import Effect
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.turn.events import (
    TurnFailed,
)

__all__ = [
    "GOOD",
    "LOGIN",
    "STOP",
    "abandoned_from",
    "bad_result",
    "failure_of",
    "fits",
    "follow",
    "good_result",
    "message_delta",
    "message_start",
    "own",
    "said",
    "stop",
    "text",
    "thinking",
    "tool_reader",
    "use",
]


LOGIN = "claude auth login"


def message_start(model: str = "claude-sonnet-4-5", **usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"model": model, "usage": usage}}


def text(said: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": said}}


def thinking(thought: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "thinking_delta", "thinking": thought}}


def stop(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def message_delta(reason: str | None, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def good_result(said: str = "", **usage: Any) -> dict[str, Any]:
    return {"is_error": False, "status": None, "reason": "completed", "text": said, "usage": usage or None}


def bad_result(status: int | None, said: str = "", reason: str = "api_error") -> dict[str, Any]:
    return {"is_error": True, "status": status, "reason": reason, "text": said, "usage": None}


def abandoned_from(index: int) -> dict[str, Any]:
    """The end of a message that broke off."""
    return {"type": "message_stop", "abandoned_from": index}


STOP = {"type": "message_stop"}


def follow(reader: TurnReader, *records: dict[str, Any]) -> list[Effect]:
    """Feed stream events, and the result as the record without a type."""
    effects: list[Effect] = []
    for record in records:
        if "type" in record:
            effects += reader.stream_event(record, record.get("abandoned_from"))
        else:
            effects += reader.result(**record)
    return effects


def failure_of(effects: Sequence[Effect]) -> ApiError:
    (event,) = effects
    assert isinstance(event, TurnFailed)
    return event.error


def use(call_id: str, name: str, *fragments: str, index: int = 0) -> list[dict[str, Any]]:
    """The records of a call while it is written."""
    deltas = [{"type": "input_json_delta", "partial_json": fragment} for fragment in fragments]
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        stop(index),
    ]


def fits(name: str, arguments: str) -> str | None:
    """The check of a reader with one tool, `read`, which takes a path."""
    return None if name == "read" and '"path":' in arguments.replace(" ", "") and arguments.endswith("}") else "no"


def own(name: str) -> str:
    return name.removeprefix("mcp__x__")


def tool_reader(**more: Any) -> TurnReader:
    return TurnReader(LOGIN, check=fits, own_name=own, **more)


GOOD = '{"path":"/"}'
said = st.text(max_size=5)
