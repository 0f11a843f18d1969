"""Reads Claude Code's records as signs of life: what each shows, and how long Claude Code may be silent after it.

Claude Code does not pass on the pings of Claude's API, and announces a retry with its wait. While one of Claude Code's
own tools runs, the only records are heartbeats, which a timer sends whether the tool makes progress or not. So
heartbeats are ignored, and a tool has a fixed time limit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["TOOL_S", "Sign", "Signs"]

# A command of the Bash tool may run for 10 minutes.
TOOL_S: Final = 600.0
MAX_TOOLS_CHARS: Final = 100

# Names of records in messages; other records are named by their type.
_NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("stream_event", "text_delta"): "text",
    ("stream_event", "thinking_delta"): "thinking",
    ("stream_event", "input_json_delta"): "the arguments of a tool call",
    ("stream_event", "message_start"): "the beginning of a message",
    ("stream_event", "message_stop"): "the end of a message",
    ("stream_event", ""): "a piece of a message",
    ("system", "init"): "the beginning of the turn",
    ("system", "status"): "a request to Claude's API",
    ("system", "api_retry"): "the announcement of a retry",
    ("assistant", ""): "a message",
    ("user", ""): "the result of a tool",
    ("tool_progress", ""): "the progress of a tool",
    ("result", ""): "the end of the turn",
    ("control_request", ""): "a request of Claude Code to this server",
}


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life.

    Attributes:
        what: the name of the sign, for messages.
        for_s: seconds that may pass until the next sign, if longer than usual.
    """

    what: str
    for_s: float = 0.0


class Signs:
    """Follows the records of one turn, those of subagents included."""

    def __init__(self) -> None:
        self._at_work: dict[str, str] = {}  # the tools, by the id of their call

    def read(self, record: Mapping[str, Any]) -> Sign | None:
        """Return the sign of life in the next record, None if a timer sent it."""
        kind = str(record.get("type"))
        if kind == "keep_alive" or record.get("heartbeat"):
            return None
        self._note_tools(kind, record)
        wait_s = TOOL_S if self._at_work else 0.0
        return Sign(self._name(kind, record), max(wait_s, _retry_s(record)))

    def _note_tools(self, kind: str, record: Mapping[str, Any]) -> None:
        if kind == "assistant":
            self._at_work |= {str(block.get("id")): str(block.get("name")) for block in _blocks(record, "tool_use")}
        elif kind == "user":
            for block in _blocks(record, "tool_result"):
                self._at_work.pop(str(block.get("tool_use_id")), None)

    def _name(self, kind: str, record: Mapping[str, Any]) -> str:
        name = _NAMES.get((kind, _detail(kind, record))) or _NAMES.get((kind, "")) or f"a record of type {kind!r}"
        tools = ", ".join(self._at_work.values())[:MAX_TOOLS_CHARS]
        return f"{name}, with {tools} at work" if tools else name


def _detail(kind: str, record: Mapping[str, Any]) -> str:
    if kind != "stream_event":
        return str(record.get("subtype", ""))
    event = _mapping(record.get("event"))
    return str(_mapping(event.get("delta")).get("type") or event.get("type"))


def _retry_s(record: Mapping[str, Any]) -> float:
    """Return the wait in seconds that a retry announces, of the turn itself or of a subagent."""
    for place in (record, _mapping(record.get("subagent_retry"))):
        delay_ms = place.get("retry_delay_ms")
        if isinstance(delay_ms, int | float):
            return max(0.0, delay_ms / 1000)
    return 0.0


def _blocks(record: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    content = _mapping(record.get("message")).get("content")
    for block in content if isinstance(content, list) else ():
        if _mapping(block).get("type") == kind:
            yield block


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
