"""Builds a message of Claude's API from the events of a turn, and the events of its stream.

One state machine, `AnswerSoFar`, makes the events. `MessageObject` puts them together as a client does, so that an
answer is the same streamed and not.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from claude_openai.errors import ApiError
from claude_openai.protocol.anthropic.errors import error_object
from claude_openai.protocol.turn.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    SearchEnded,
    SearchStarted,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)

__all__ = ["AnswerSoFar", "MessageHead", "MessageObject", "StreamEvent", "usage_object"]

StreamEvent: TypeAlias = Mapping[str, Any]

_STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
}
# Type of a block -> the block when it starts, the type of its deltas, and their key.
_DELTAS: Final[Mapping[str, tuple[Mapping[str, Any], str, str]]] = {
    "text": ({"type": "text", "text": ""}, "text_delta", "text"),
    "thinking": ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
}


@dataclass(frozen=True, slots=True)
class MessageHead:
    """The fields that all objects of one answer share.

    Attributes:
        id: unique for this message, `msg_...`.
        model: the model name as the client sent it, not the resolved one.
        request_id: id of the request, which an error names.
        show_thinking: the message has Claude's thinking.
    """

    id: str
    model: str
    request_id: str
    show_thinking: bool = True

    def message(self, usage: Usage) -> dict[str, Any]:
        """Return the message before its first block."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(usage),
        }


def usage_object(usage: Usage, cost_usd: float | None = None) -> dict[str, Any]:
    """Return the usage object of Claude's API, whose `input_tokens` do not include cached tokens.

    Args:
        usage: the tokens.
        cost_usd: dollars, for a key that Claude's API does not have; None if unknown, then there is no such key.
    """
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        **({} if cost_usd is None else {"cost_usd": max(0.0, cost_usd)}),
    }


class AnswerSoFar:
    """The events of a stream, one turn event after the other.

    Blocks do not overlap. Thinking that broke off, and notes about Claude Code's own tools, are blocks of thinking
    without a signature.

    Attributes:
        ended: the final event was fed.
        calls: names of the tools called so far.
    """

    def __init__(self, head: MessageHead) -> None:
        self.ended = False
        self.calls: list[str] = []
        self._head = head
        self._begun = False
        self._open = ""  # type of the open block
        self._index = 0

    def feed(self, event: Event) -> Iterator[StreamEvent]:
        """Yield the events of the Messages API for an event of the turn.

        Raises:
            RuntimeError: the turn has ended, so this is a bug of the caller.
        """
        if self.ended:
            raise RuntimeError(f"{type(event).__name__} after the end of the message")
        if isinstance(event, TurnFailed):
            self.ended = True
            yield error_object(event.error, self._head.request_id)
            return
        yield from self._begin(event.usage if isinstance(event, TurnStarted) else Usage())
        match event:
            case TextDelta(text):
                yield from self._delta("text", text)
            case ReasoningDelta() | ReasoningEnd() if not self._head.show_thinking:
                pass
            case ReasoningDelta(text, tool):
                if tool:
                    yield from self._close()
                yield from self._delta("thinking", text)
                if tool:
                    yield from self._close()
            case ReasoningEnd(signature, redacted):
                yield from self._end_of_thinking(signature, redacted)
            case ToolCall():
                yield from self._call(event)
            case TurnStarted() | SearchStarted() | SearchEnded():  # no search is offered over this API
                pass
            case TurnCompleted():
                yield from self._complete(event)
            case _:
                assert_never(event)

    @property
    def text_block(self) -> int | None:
        """Return the index of the open block of text, to which the next text is only a delta; None if none is open."""
        return self._index if self._open == "text" and not self.ended else None

    def _begin(self, usage: Usage) -> Iterator[StreamEvent]:
        if not self._begun:
            self._begun = True
            yield {"type": "message_start", "message": self._head.message(usage)}

    def _start(self, block: Mapping[str, Any]) -> Iterator[StreamEvent]:
        yield from self._close()
        self._open = block["type"]
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _close(self) -> Iterator[StreamEvent]:
        if self._open:
            yield {"type": "content_block_stop", "index": self._index}
            self._open = ""
            self._index += 1

    def _block_delta(self, kind: str, key: str, value: str) -> StreamEvent:
        return {"type": "content_block_delta", "index": self._index, "delta": {"type": kind, key: value}}

    def _delta(self, block_type: str, text: str) -> Iterator[StreamEvent]:
        if not text:
            return
        block, kind, key = _DELTAS[block_type]
        if self._open != block_type:
            yield from self._start(block)
        yield self._block_delta(kind, key, text)

    def _end_of_thinking(self, signature: str, redacted: str) -> Iterator[StreamEvent]:
        if redacted:
            yield from self._start({"type": "redacted_thinking", "data": redacted})
        elif signature:
            if self._open != "thinking":
                yield from self._start(_DELTAS["thinking"][0])
            yield self._block_delta("signature_delta", "signature", signature)
        if self._open != "text":
            yield from self._close()

    def _call(self, call: ToolCall) -> Iterator[StreamEvent]:
        self.calls.append(call.name)
        yield from self._start({"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        yield self._block_delta("input_json_delta", "partial_json", call.arguments)
        yield from self._close()

    def _complete(self, end: TurnCompleted) -> Iterator[StreamEvent]:
        self.ended = True
        yield from self._close()
        reason = _STOP_REASONS[end.finish_reason] if end.stop_sequence is None else "stop_sequence"
        delta = {"stop_reason": reason, "stop_sequence": end.stop_sequence}
        yield {"type": "message_delta", "delta": delta, "usage": usage_object(end.usage, end.cost_usd)}
        yield {"type": "message_stop"}


class MessageObject:
    """One turn as one message: `feed` each event in order, then take the `result`.

    Attributes:
        error: why the turn failed; None while it runs and if it completed.
    """

    def __init__(self, head: MessageHead) -> None:
        self._answer = AnswerSoFar(head)
        self._message = head.message(Usage())
        self._pieces: dict[str, list[str]] = {}  # of the open block, by the key of the delta
        self.error: ApiError | None = None

    @property
    def ended(self) -> bool:
        """Return whether the final event was fed."""
        return self._answer.ended

    def feed(self, event: Event) -> None:
        """Take the next event.

        Raises:
            RuntimeError: the turn has ended.
        """
        if isinstance(event, TurnFailed):
            self.error = event.error
        for step in self._answer.feed(event):
            self._take(step)

    def result(self) -> dict[str, Any]:
        """Return the message object.

        Raises:
            ApiError: the turn failed.
            RuntimeError: the turn has not ended yet.
        """
        if self.error is not None:
            raise self.error
        if not self.ended:
            raise RuntimeError("the turn has not ended")
        return self._message

    def _take(self, step: StreamEvent) -> None:
        content = self._message["content"]
        match step:
            case {"type": "content_block_start", "content_block": block}:
                content.append(dict(block))
            case {"type": "content_block_delta", "delta": delta}:
                _, (key, piece) = delta.items()
                self._pieces.setdefault(key, []).append(piece)
            case {"type": "content_block_stop"}:
                whole = {key: "".join(pieces) for key, pieces in self._pieces.items()}
                arguments = whole.pop("partial_json", None)
                content[-1] |= whole if arguments is None else {"input": json.loads(arguments)}
                self._pieces = {}
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                self._message |= {**delta, "usage": usage}
