"""Plays an answer as the records that Claude Code would write for it.

What Claude Code does was observed with version 2.1.332; `tests/real/test_broken_streams.py` has the table. After a
stream that breaks off it keeps the complete blocks. It fails if the stream ended with an error event in an incomplete
text or call and no block was complete; otherwise it requests another message. Its retries take no time here.
"""

import json
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from claude_openai.standin.script import Answer, Cut, Die, HttpError, Wait
from claude_openai.standin.wire import AnswerIdentity, Head, render

__all__ = ["Ending", "MessageEnd", "Record", "failure_records", "played", "result_record", "user_record"]

Record: TypeAlias = Mapping[str, Any]

CONNECTION_LOST: Final = (
    "API Error: Connection to the API was lost (ECONNRESET). This is usually temporary — try again."
)
NO_EVENTS: Final = "API Error: Stream ended without receiving any events"
# 401 and 429 are announced as retries; the server then ends the turn.
_ANNOUNCED: Final = {401: "authentication_failed", 429: "rate_limit"}
_TOO_LONG: Final = re.compile(r"prompt is too long", re.IGNORECASE)


class Ending(Enum):
    """How a message of Claude ended."""

    COMPLETE = auto()
    FAILED = auto()  # Claude Code has reported the failure
    BROKEN = auto()  # the stream broke off, and Claude Code requests another message
    DIED = auto()  # the process is dead


@dataclass(slots=True)
class MessageEnd:
    """The end of a message.

    Attributes:
        stop_reason: of a complete message.
        calls: names and JSON arguments of the complete calls.
        text: the text of the message.
        records_of_failure: the records if Claude Code gives up after a broken message.
    """

    ending: Ending
    stop_reason: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    records_of_failure: list[Record] = field(default_factory=list)


def played(answer: Answer, identity: AnswerIdentity) -> Generator[Record | Wait, None, MessageEnd]:
    """Yield the records and waits of one answer of Claude's API; return how it ended."""
    if isinstance(answer, HttpError):
        yield from answer.before_headers
        yield from _refused(answer)
        return MessageEnd(Ending.FAILED)
    message = _Message()
    for item in render(answer, identity, stream=True):
        if isinstance(item, bytes):
            for event in message.decode(item):
                yield from message.take(event)
        elif isinstance(item, Die):
            return MessageEnd(Ending.DIED)
        elif isinstance(item, Cut):
            break
        elif not isinstance(item, Head):
            yield item
    return (yield from message.end())


def result_record(text: str = "", *, structured: object = None) -> Record:
    """Return the record that ends Claude Code's turn."""
    return {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "terminal_reason": "completed",
        "result": text,
        "structured_output": structured,
    }


def user_record(text: str) -> Record:
    """Return the record of a message that Claude Code adds."""
    content = [{"type": "text", "text": text}]
    return {"type": "user", "message": {"role": "user", "content": content}, "isSynthetic": True}


def failure_records(
    text: str, *, kind: str = "unknown", status: int | None = None, reason: str = "api_error", finer: str | None = None
) -> Iterator[Record]:
    """Yield the records of a turn that fails."""
    message = {"model": "<synthetic>", "content": [{"type": "text", "text": text}]}
    extra = {"api_error_status": status, **({} if finer is None else {"api_error": finer})}
    yield {"type": "assistant", "message": message, "error": kind, **extra}
    ends = {"type": "result", "subtype": "success", "is_error": True, "terminal_reason": reason, "result": text}
    yield {**ends, **extra}


def _refused(error: HttpError) -> Iterator[Record]:
    headers = {name.lower(): value for name, value in error.headers.items()}
    kind = _ANNOUNCED.get(error.status)
    if kind is not None and headers.get("x-should-retry") != "false":
        wait = headers.get("retry-after", "")
        delay_ms = float(wait) * 1000 if re.fullmatch(r"\d+(\.\d+)?", wait) else 500
        yield {
            "type": "system",
            "subtype": "api_retry",
            "retry_delay_ms": delay_ms,
            "error_status": error.status,
            "error": kind,
        }
        return
    text, kind, reason = _reported(error)
    yield from failure_records(text, kind=kind, status=error.status, reason=reason)


def _reported(error: HttpError) -> tuple[str, str, str]:
    """Return Claude Code's text, name and reason of a refusal."""
    text = f"API Error: {error.status} {error.message}"
    match error.status:
        case 400 if _TOO_LONG.search(error.message):
            return "Prompt is too long", "invalid_request", "prompt_too_long"
        case 401 | 403:
            return f"Failed to authenticate. {text}", "authentication_failed", "api_error"
        case 404:
            no_model = "There's an issue with the selected model. It may not exist or you may not have access to it."
            return no_model, "model_not_found", "api_error"
        case 413:
            return "Request too large (max 32MB).", "invalid_request", "image_error"
        case 429:
            return f"API Error: Request rejected (429) · {error.message}", "rate_limit", "api_error"
        case status if status >= 500:
            return f"{text}. This is a server-side issue, usually temporary — try again.", "server_error", "api_error"
    return text, "unknown", "api_error"


class _Message:
    """One message, from the bytes of its stream."""

    def __init__(self) -> None:
        self._unread = b""
        self._blocks: dict[int, dict[str, Any]] = {}
        self._open: int | None = None
        self._complete = 0
        self._stop_reason = ""
        self._begun = False
        self._error: str | None = None
        self._ended = False

    def decode(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events in the next bytes. As the CLI's client, ignore what is not an event."""
        *blocks, self._unread = (self._unread + data).split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(b":")[::2] for line in block.split(b"\n"))
            try:
                event = json.loads(fields[b"data"])
            except (LookupError, ValueError):
                continue
            if isinstance(event, dict) and event.get("type") == fields.get(b"event", b"").strip().decode("latin-1"):
                yield event

    def take(self, event: dict[str, Any]) -> Iterator[Record]:
        """Yield the records of an event."""
        match event["type"]:
            case "ping":
                return
            case "error":
                self._error = str(event["error"]["message"])
                return
            case "message_start":
                self._begun = True
            case "content_block_start":
                self._open = event["index"]
                self._blocks[event["index"]] = {**event["content_block"], "written": []}
            case "content_block_delta":
                delta = event["delta"]
                written = delta.get("text") or delta.get("partial_json") or ""
                self._blocks[event["index"]]["written"].append(written)
            case "content_block_stop":
                self._open, self._complete = None, event["index"] + 1
            case "message_delta":
                self._stop_reason = str(event["delta"]["stop_reason"])
            case "message_stop":
                self._ended = True
                if not self._stop_reason:
                    return
        yield _stream_event(event)

    def end(self) -> Generator[Record, None, MessageEnd]:
        """Yield the records at the end of the stream."""
        whole = [block for index, block in self._blocks.items() if index < self._complete]
        calls = [(str(b["name"]), "".join(b["written"]) or "{}") for b in whole if b["type"] == "tool_use"]
        text = "".join("".join(b["written"]) for b in whole if b["type"] == "text")
        if self._stop_reason:
            return MessageEnd(Ending.COMPLETE, self._stop_reason, calls, text)
        if self._ended:
            yield _stream_event({"type": "message_stop"}, abandoned_from=0)
            yield from failure_records(NO_EVENTS)
            return MessageEnd(Ending.FAILED)
        return (yield from self._break_off(calls, text))

    def _break_off(self, calls: list[tuple[str, str]], text: str) -> Generator[Record, None, MessageEnd]:
        partial = None if self._open is None else self._blocks[self._open]["type"]
        fails = self._error is not None and not self._complete and partial in ("text", "tool_use")
        failure = [*failure_records(f"API Error: {self._error}")] if fails else []
        yield from failure[:1]
        if self._open is not None:
            yield _stream_event({"type": "content_block_stop", "index": self._open})
        if self._begun:
            yield _stream_event({"type": "message_stop"}, abandoned_from=self._complete)
        yield from failure[1:]
        if fails:
            return MessageEnd(Ending.FAILED)
        if text and not calls:
            yield user_record("Your response above was cut off mid-stream. Resume directly from where it stops.")
        if self._error is None:
            records_of_failure = failure_records(CONNECTION_LOST, kind="server_error", finer="connection_failed")
        else:
            records_of_failure = failure_records(f"API Error: {self._error}")
        return MessageEnd(Ending.BROKEN, calls=calls, text=text, records_of_failure=[*records_of_failure])


def _stream_event(event: Mapping[str, Any], abandoned_from: int | None = None) -> Record:
    void = {} if abandoned_from is None else {"abandoned_blocks": {"from_block_index": abandoned_from}}
    return {"type": "stream_event", "event": event, "parent_tool_use_id": None, **void}
