"""The events of a turn, the same for every backend.

A turn is `TurnStarted`, any number of deltas, and exactly one end: `TurnCompleted` or `TurnFailed`. A turn that fails
before Claude has answered has no `TurnStarted`. No event follows the end. Errors are events, so that exceptions do not
have to cross a channel.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from claude_openai.errors import ApiError

# How the turn got its history. new: there is none. replayed: it was sent again. continued: a live conversation got only
# the new messages. rewound: a live conversation was taken back to an earlier message. parked: a live conversation got
# the results of the tool calls for which it was waiting.
Route: TypeAlias = Literal["new", "replayed", "continued", "rewound", "parked"]
FinishReason: TypeAlias = Literal["stop", "length", "content_filter", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as counted by Claude; `chat/completion.py` converts them to OpenAI's sums.

    Attributes:
        input_tokens: prompt tokens neither read from nor written to the cache.
        cache_read_tokens: prompt tokens served from the cache.
        cache_write_tokens: prompt tokens written to the cache.
        output_tokens: all generated tokens, thinking included.
        reasoning_tokens: the part of `output_tokens` spent on thinking.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """Claude has accepted the turn and begins to answer: from here on the HTTP status is 200.

    Attributes:
        model: the full Claude model id that answers, for the log.
        conversation: the route of the turn, for the response header and the log.
        usage: the tokens that are known at the start: those of the prompt.
    """

    model: str
    conversation: Route = "new"
    usage: Usage = field(default=Usage(), compare=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A delta of Claude's thinking, or a note about the use of one of Claude Code's own tools.

    `tool` is the name of that tool, "" for thinking.
    """

    text: str
    tool: str = ""


@dataclass(frozen=True, slots=True)
class ReasoningEnd:
    """The end of a block of Claude's thinking, whose text came in deltas before it.

    Attributes:
        signature: of the text; "" if the block broke off.
        redacted: the encrypted thinking of a block without a text, which has no signature; "" for other blocks.
    """

    signature: str = ""
    redacted: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call, whose arguments were validated against the tool's schema.

    Attributes:
        id: Claude's own id, which the client's result must name.
        name: the client's name of the tool.
        arguments: JSON, as Claude wrote it.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class SearchStarted:
    """Claude searches the web.

    Attributes:
        id: Claude's own id of the call.
        query: what it searches for.
    """

    id: str
    query: str


@dataclass(frozen=True, slots=True)
class Source:
    """A result of a search."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class SearchEnded:
    """The end of a search. It may have started in an earlier turn, which ended with calls of the client's tools.

    Attributes:
        id: as in `SearchStarted`.
        sources: the results.
        failed: the search was denied, or failed.
    """

    id: str
    sources: tuple[Source, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """The end of an answer.

    Attributes:
        finish_reason: why it ended.
        usage: the tokens of the turn.
        cost_usd: set by the run: its dollars, None if the backend reports none.
        stop_sequence: the sequence before which the text was cut, None if it was not cut.
    """

    finish_reason: FinishReason
    usage: Usage
    cost_usd: float | None = None
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class TurnFailed:
    error: ApiError


Event: TypeAlias = (
    TurnStarted
    | TextDelta
    | ReasoningDelta
    | ReasoningEnd
    | ToolCall
    | SearchStarted
    | SearchEnded
    | TurnCompleted
    | TurnFailed
)
