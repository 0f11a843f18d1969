"""Encodes the events of a turn as a stream of `chat.completion.chunk` objects in server-sent events.

A stream ends with a `finish_reason` or an error object; otherwise OpenCode repeats the request at once, endlessly. With
`include_usage` every chunk but the last has `"usage":null`; without it no chunk has the key.
"""

from typing import Any, assert_never

from claude_openai.protocol.openai.chat.completion import (
    REASONING_KEYS,
    REFUSED,
    ResponseHead,
    annotation,
    finish_reason_for,
    tool_call_object,
    usage_object,
)
from claude_openai.protocol.openai.citations import Citations
from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    ReasoningEnd,
    SearchEnded,
    SearchStarted,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from claude_openai.protocol.wire.sse import DONE, data_frame, encode_json, error_frame

__all__ = ["ChunkStream"]


class ChunkStream:
    """One turn as server-sent events: `feed` each event in order and send what it returns.

    The role chunk is sent once, first. Each delta that is not empty is a separate chunk. The stream ends with a chunk
    with `finish_reason`, the usage chunk if requested, and `[DONE]`; if the turn failed, with an error object and
    `[DONE]`. If Claude declines to answer, the text sent so far stays in `content`, `refusal` is set, and the
    finish_reason is `content_filter`. The citations of an answer are in a chunk of their own after its text.

    Args:
        head: id, time and model of the response.
        include_usage: the client's `stream_options.include_usage`.
        functions: as for `Completion`.

    Attributes:
        calls: names of the tools called so far.
    """

    def __init__(self, head: ResponseHead, include_usage: bool, *, functions: bool = False) -> None:
        self._functions = functions
        self._fields = head.fields("chat.completion.chunk")
        self._include_usage = include_usage
        self._role_sent = False
        self.calls: list[str] = []
        self._ended = False
        self._citations = Citations()
        self._annotations: list[dict[str, Any]] = []
        self._text_frame = self._delta_frame("content")
        self._reasoning_frame = self._delta_frame(*REASONING_KEYS)

    @property
    def ended(self) -> bool:
        """Return whether the final event was fed."""
        return self._ended

    def feed(self, event: Event) -> bytes:
        """Return the frames of `event`, which may be empty.

        Raises:
            RuntimeError: the stream has ended; see `Completion.feed`.
        """
        if self._ended:
            raise RuntimeError(f"{type(event).__name__} after the end of the stream")
        match event:
            case TextDelta(text):
                self._annotations += map(annotation, self._citations.feed(text))
                return self._delta(self._text_frame, text)
            case ReasoningDelta(text):
                return self._delta(self._reasoning_frame, text)
            case ToolCall():
                return self._role() + self._tool_call(event)
            case SearchEnded(sources=sources):
                self._citations.add(sources)
                return b""
            case ReasoningEnd() | SearchStarted():
                return b""
            case TurnStarted():
                return self._role()
            case TurnCompleted():
                self._ended = True
                return self._role() + self._finish(event) + DONE
            case TurnFailed(error):
                self._ended = True
                return error_frame(error) + DONE
            case _:
                assert_never(event)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return data_frame({**self._fields, "choices": [choice], **usage})

    def _delta_frame(self, *keys: str) -> list[bytes]:
        # The frame of a delta is encoded once and split where the text of each key goes, because encoding the constant
        # parts is most of the cost of a chunk. It is split from the right, because the model's name on the left may
        # contain any text.
        return self._chunk(dict.fromkeys(keys, "")).rsplit(b'""', len(keys)) if keys else []

    def _delta(self, frame: list[bytes], text: str) -> bytes:
        if not text or not frame:
            return b""
        chunk = encode_json(text).join(frame)
        return chunk if self._role_sent else self._role() + chunk

    def _tool_call(self, call: ToolCall) -> bytes:
        index = len(self.calls)
        self.calls.append(call.name)
        if self._functions:
            named = self._chunk({"function_call": {"name": call.name, "arguments": ""}})
            return named + self._chunk({"function_call": {"arguments": call.arguments}})
        # As OpenAI streams calls: id, type and name in one chunk, then the arguments.
        begun = {**tool_call_object(call, ""), "index": index}
        rest = {"index": index, "function": {"arguments": call.arguments}}
        return self._chunk({"tool_calls": [begun]}) + self._chunk({"tool_calls": [rest]})

    def _role(self) -> bytes:
        if self._role_sent:
            return b""
        self._role_sent = True
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _finish(self, end: TurnCompleted) -> bytes:
        finish_reason = end.finish_reason
        last = {**self._fields, "choices": [], "usage": usage_object(end.usage, end.cost_usd)}
        refused = self._chunk({"refusal": REFUSED}) if finish_reason == "content_filter" else b""
        annotated = self._chunk({"annotations": self._annotations}) if self._annotations else b""
        return (
            annotated
            + refused
            + self._chunk({}, finish_reason_for(finish_reason, self._functions))
            + (data_frame(last) if self._include_usage else b"")
        )
