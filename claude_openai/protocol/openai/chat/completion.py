"""Collects the events of a turn in one `chat.completion`, and defines the parts that `chunks.py` uses too.

The deltas of a stream of chunks add up to the same object. Ids and times come from `ResponseHead`.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, assert_never

from claude_openai.errors import ApiError
from claude_openai.protocol.openai.citations import Citation, Citations
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

__all__ = [
    "REASONING_KEYS",
    "REFUSED",
    "Completion",
    "ResponseHead",
    "annotation",
    "cost_key",
    "finish_reason_for",
    "tool_call_object",
    "usage_object",
]

# Claude's API reports a refusal without a reason.
REFUSED = "Claude declined to answer this."
# OpenAI has no field for thinking. Clients read one of two names; none shows the text twice if it gets both.
REASONING_KEYS: Final = ("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The fields that all objects of one response share.

    Attributes:
        id: unique for this response, `chatcmpl-...` or `cmpl-...`.
        created: start of the response, in whole seconds since 1970.
        model: the model name as the client sent it, not the resolved one.
    """

    id: str
    created: int
    model: str

    def fields(
        self, object_type: Literal["chat.completion", "chat.completion.chunk", "text_completion"]
    ) -> dict[str, Any]:
        return {"id": self.id, "object": object_type, "created": self.created, "model": self.model}


def usage_object(usage: Usage, cost_usd: float | None = None) -> dict[str, Any]:
    """Return OpenAI's usage object. Its `prompt_tokens` include cached tokens; Claude's `input_tokens` do not.

    Args:
        usage: the tokens.
        cost_usd: dollars, for a key that OpenAI does not have; None if they are unknown, then there is no such key.
    """
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
        **cost_key(cost_usd),
    }


def cost_key(cost_usd: float | None) -> dict[str, float]:
    """Return the key with the dollars, or no key. They can be below 0 if estimates of earlier answers were too high."""
    return {} if cost_usd is None else {"cost_usd": max(0.0, cost_usd)}


class Completion:
    """One turn as one chat.completion: `feed` each event in order, then take the `result`.

    `message.content` is a string, empty if there is no text, and null if there are tool calls and no text. The keys for
    reasoning exist only if there is reasoning.

    Args:
        head: id, time and model of the response.
        functions: the client uses the older `functions`, so a call is reported as a `function_call`.

    Attributes:
        error: why the turn failed; None while it runs and when it completed.
    """

    def __init__(self, head: ResponseHead, *, functions: bool = False) -> None:
        self._head = head
        self._functions = functions
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._citations = Citations()
        self._annotations: list[dict[str, Any]] = []
        self._completed: TurnCompleted | None = None
        self.error: ApiError | None = None

    @property
    def ended(self) -> bool:
        """Return whether the final event was fed, so that there is a `result` or an `error`."""
        return self._completed is not None or self.error is not None

    def feed(self, event: Event) -> None:
        """Take the next event.

        Raises:
            RuntimeError: the turn has ended, so this is a bug of the caller.
        """
        if self.ended:
            raise RuntimeError(f"{type(event).__name__} after the end of the turn")
        match event:
            case TextDelta(text):
                self._content.append(text)
                self._annotations += map(annotation, self._citations.feed(text))
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case ToolCall():
                self._calls.append(tool_call_object(event, event.arguments))
            case SearchEnded(sources=sources):
                self._citations.add(sources)
            case ReasoningEnd() | SearchStarted() | TurnStarted():
                pass
            case TurnCompleted():
                self._completed = event
            case TurnFailed(error):
                self.error = error
            case _:
                assert_never(event)

    def result(self) -> dict[str, Any]:
        """Return the chat.completion object.

        Raises:
            ApiError: the turn failed; this is its `error`.
            RuntimeError: the turn has not ended yet.
        """
        if self.error is not None:
            raise self.error
        if self._completed is None:
            raise RuntimeError("the turn has not ended")
        finish_reason = self._completed.finish_reason
        usage = usage_object(self._completed.usage, self._completed.cost_usd)
        reason = finish_reason_for(finish_reason, self._functions)
        choice = {"index": 0, "message": self._message(finish_reason), "logprobs": None, "finish_reason": reason}
        return {**self._head.fields("chat.completion"), "choices": [choice], "usage": usage}

    def _message(self, reason: FinishReason) -> dict[str, Any]:
        content, thoughts = "".join(self._content), "".join(self._reasoning)
        reasoning = dict.fromkeys(REASONING_KEYS, thoughts) if thoughts else {}
        calls: dict[str, Any] = {"tool_calls": self._calls} if self._calls else {}
        if calls and self._functions:
            calls = {"function_call": self._calls[0]["function"]}
        text = None if calls and not content else content
        refusal = REFUSED if reason == "content_filter" else None
        annotations = {"annotations": self._annotations}
        return {"role": "assistant", "content": text, "refusal": refusal, **reasoning, **calls, **annotations}


def annotation(citation: Citation) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": citation.fields()}


def finish_reason_for(reason: FinishReason, functions: bool) -> str:
    return "function_call" if functions and reason == "tool_calls" else reason


def tool_call_object(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
