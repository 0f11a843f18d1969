"""A turn's events as OpenAI says them: a stream of chat.completion.chunk, or one chat.completion; and the models.

Two small state machines over `events.py`, `ChunkStream` and `Completion`, that say the same thing in two shapes: what a
client adds up from the chunks is what the one object holds. Knows OpenAI's response objects. Knows no clock and no
randomness (ids and times come in with `ResponseHead`), and not who runs the turn or who sends the bytes.

Clients depend on two rules. A stream ends with a `finish_reason` or an error object: without either, OpenCode asks anew
at once, endlessly. With `include_usage` every chunk but the last says `"usage":null`; without it none has the key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never

from claude_openai.errors import ApiError
from claude_openai.protocol.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.sse import DONE, data_frame, encode_json, error_frame

__all__ = [
    "REFUSED",
    "ChunkStream",
    "Completion",
    "ReasoningKeys",
    "ResponseHead",
    "fold",
    "model_list",
    "model_object",
    "usage_object",
]

ReasoningKeys: TypeAlias = Literal["both", "reasoning_content", "reasoning", "none"]

# Claude says that it refuses, not why.
REFUSED = "Claude declined to answer this."
# OpenAI has no field for thinking. Some clients read the one name, some the other; with both, none shows it twice.
_REASONING_KEYS: dict[ReasoningKeys, tuple[str, ...]] = {
    "both": ("reasoning_content", "reasoning"),
    "reasoning_content": ("reasoning_content",),
    "reasoning": ("reasoning",),
    "none": (),
}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What every object of one response has in common.

    Attributes:
        id: unique for this response, `chatcmpl-...`.
        created: when the response began, in whole seconds since 1970.
        model: the model as the client named it, not the one it stands for.
    """

    id: str
    created: int
    model: str

    def fields(self, object_type: Literal["chat.completion", "chat.completion.chunk"]) -> dict[str, Any]:
        return {"id": self.id, "object": object_type, "created": self.created, "model": self.model}


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's sums: its `prompt_tokens` contain the cached ones, Claude's `input_tokens` do not."""
    prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class ChunkStream:
    """One turn as server-sent events: `feed` each event in order and send what it returns.

    The role chunk comes once, before all others. Each delta that is not empty is one chunk, never joined with another.
    The end is a chunk with `finish_reason`, the usage chunk if it was asked for, and `[DONE]`; or, for a turn that
    failed, an error object and `[DONE]`. When Claude refuses, what it had said stays in `content`, `refusal` says so,
    and the finish_reason is `content_filter`.

    Args:
        head: id, time and model of the response.
        include_usage: the client's `stream_options.include_usage`.
        reasoning: the keys under which thinking is sent.
        functions: the client knows no tools: a call is told as a `function_call`.

    Attributes:
        calls: names of the tools that were called so far.
    """

    def __init__(
        self, head: ResponseHead, include_usage: bool, reasoning: ReasoningKeys = "both", *, functions: bool = False
    ) -> None:
        self._functions = functions
        self._fields = head.fields("chat.completion.chunk")
        self._include_usage = include_usage
        self._role_sent = False
        self.calls: list[str] = []
        self._ended = False
        self._text_frame = self._delta_frame("content")
        self._reasoning_frame = self._delta_frame(*_REASONING_KEYS[reasoning])

    @property
    def ended(self) -> bool:
        """True once the turn's end was fed: there is nothing more to send."""
        return self._ended

    def feed(self, event: Event) -> bytes:
        """The frames that `event` becomes, which may be none.

        Raises:
            RuntimeError: the stream has ended. Nothing follows a turn's end, so this is a bug of the caller.
        """
        if self._ended:
            raise RuntimeError(f"{type(event).__name__} after the end of the stream")
        match event:
            case TextDelta(text):
                return self._delta(self._text_frame, text)
            case ReasoningDelta(text):
                return self._delta(self._reasoning_frame, text)
            case ToolCall():
                return self._role() + self._tool_call(event)
            case TurnStarted():
                return self._role()
            case TurnCompleted(finish_reason, usage):
                self._ended = True
                return self._role() + self._finish(finish_reason, usage) + DONE
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
        # The frame of a delta, cut where its text goes, once for each key: encoding the rest, the same in every chunk,
        # is most of what a chunk costs. Cut from the right, since the model's name on the left may hold any text.
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
        # The name first and the arguments after it, as OpenAI streams them: id, type and name come once.
        begun = {**_tool_call_object(call, ""), "index": index}
        rest = {"index": index, "function": {"arguments": call.arguments}}
        return self._chunk({"tool_calls": [begun]}) + self._chunk({"tool_calls": [rest]})

    def _role(self) -> bytes:
        if self._role_sent:
            return b""
        self._role_sent = True
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _finish(self, finish_reason: FinishReason, usage: Usage) -> bytes:
        last = {**self._fields, "choices": [], "usage": usage_object(usage)}
        refused = self._chunk({"refusal": REFUSED}) if finish_reason == "content_filter" else b""
        return (
            refused
            + self._chunk({}, _told(finish_reason, self._functions))
            + (data_frame(last) if self._include_usage else b"")
        )


class Completion:
    """One turn as one chat.completion: `feed` each event in order, then take the `result`.

    `message.content` is a string, empty if nothing was said, and null beside tool calls without text. The reasoning
    keys are there only if there was any.

    Args:
        head: id, time and model of the response.
        reasoning: the keys under which thinking is given.
        functions: see `ChunkStream`.

    Attributes:
        error: why the turn failed; None while it runs and when it completed.
    """

    def __init__(self, head: ResponseHead, reasoning: ReasoningKeys = "both", *, functions: bool = False) -> None:
        self._head = head
        self._functions = functions
        self._reasoning_keys = _REASONING_KEYS[reasoning]
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._completed: TurnCompleted | None = None
        self.error: ApiError | None = None

    @property
    def ended(self) -> bool:
        """True once the turn's end was fed: there is a `result` or an `error`."""
        return self._completed is not None or self.error is not None

    def feed(self, event: Event) -> None:
        """Take in the next event.

        Raises:
            RuntimeError: the turn has ended; see `ChunkStream.feed`.
        """
        if self.ended:
            raise RuntimeError(f"{type(event).__name__} after the end of the turn")
        match event:
            case TextDelta(text):
                self._content.append(text)
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case ToolCall():
                self._calls.append(_tool_call_object(event, event.arguments))
            case TurnStarted():
                pass
            case TurnCompleted():
                self._completed = event
            case TurnFailed(error):
                self.error = error
            case _:
                assert_never(event)

    def result(self) -> dict[str, Any]:
        """The chat.completion object.

        Raises:
            ApiError: the turn failed; this is its `error`.
            RuntimeError: the turn has not ended yet.
        """
        if self.error is not None:
            raise self.error
        if self._completed is None:
            raise RuntimeError("the turn has not ended")
        finish_reason, usage = self._completed.finish_reason, usage_object(self._completed.usage)
        told = _told(finish_reason, self._functions)
        choice = {"index": 0, "message": self._message(finish_reason), "logprobs": None, "finish_reason": told}
        return {**self._head.fields("chat.completion"), "choices": [choice], "usage": usage}

    def _message(self, reason: FinishReason) -> dict[str, Any]:
        content, thoughts = "".join(self._content), "".join(self._reasoning)
        reasoning = dict.fromkeys(self._reasoning_keys, thoughts) if thoughts else {}
        calls: dict[str, Any] = {"tool_calls": self._calls} if self._calls else {}
        if calls and self._functions:
            calls = {"function_call": self._calls[0]["function"]}
        said = None if calls and not content else content
        refusal = REFUSED if reason == "content_filter" else None
        return {"role": "assistant", "content": said, "refusal": refusal, **reasoning, **calls, "annotations": []}


def _told(reason: FinishReason, functions: bool) -> str:
    return "function_call" if functions and reason == "tool_calls" else reason


def _tool_call_object(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def fold(head: ResponseHead, events: Iterable[Event], reasoning: ReasoningKeys = "both") -> dict[str, Any]:
    """A whole turn's events as one chat.completion; raises as `Completion.result` does."""
    completion = Completion(head, reasoning)
    for event in events:
        completion.feed(event)
    return completion.result()


def model_object(model_id: str, created: int) -> dict[str, Any]:
    """One model of `/v1/models`; `created` in whole seconds since 1970."""
    return {"id": model_id, "object": "model", "created": created, "owned_by": "anthropic"}


def model_list(model_ids: Iterable[str], created: int) -> dict[str, Any]:
    """The answer of `/v1/models`, in the order given; `created` in whole seconds since 1970, the same for all."""
    return {"object": "list", "data": [model_object(model_id, created) for model_id in model_ids]}
