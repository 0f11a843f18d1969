"""The vocabulary of scripts: the answers and faults of the stand-in Messages API.

A script is data. A `Reply` is a sequence of content blocks. A block has deltas, one string each, and between deltas or
blocks there may be interruptions: a pause, a hang, a dropped connection, garbage bytes. An `HttpError` is an error
instead of a message. `wire.py` makes the bytes. This module does not import trio: anything with an async `wait()` can
end a pause.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

__all__ = [
    "API_ERROR",
    "AUTHENTICATION_ERROR",
    "NOT_FOUND_ERROR",
    "OVERLOADED_ERROR",
    "PERMISSION_ERROR",
    "PROMPT_TOO_LONG",
    "RATE_LIMIT_ERROR",
    "REQUEST_TOO_LARGE",
    "Answer",
    "Block",
    "Cut",
    "Garbage",
    "Hang",
    "HttpError",
    "Pause",
    "Piece",
    "Reply",
    "Step",
    "StopReason",
    "Text",
    "Thinking",
    "ToolUse",
    "UpstreamErrorEvent",
    "Usage",
    "Waitable",
]

StopReason: TypeAlias = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence", "pause_turn", "refusal"]


class Waitable(Protocol):
    """What a pause can wait for; `trio.Event` is one."""

    async def wait(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Pause:
    """Send everything before this, then wait for `until`: seconds, or an event.

    Raises:
        ValueError: the seconds are negative, infinite or not a number.
    """

    until: float | Waitable

    def __post_init__(self) -> None:
        if isinstance(self.until, int | float) and not 0 <= self.until < math.inf:
            raise ValueError(f"a pause lasts zero or more finite seconds, not {self.until}")


@dataclass(frozen=True, slots=True)
class Hang:
    """Send everything before this, then wait until the client leaves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Drop the connection in the middle of the answer.

    Attributes:
        reset: False closes it, so that everything sent still arrives; True resets it, and the kernel may discard what
            the client has not read yet.
    """

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Garbage:
    """Raw bytes in the body of the answer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class UpstreamErrorEvent:
    """An error after the answer has begun: an SSE `error` event, and then the stream ends.

    An answer that is not streamed becomes an `HttpError` with the status that belongs to `type`.
    """

    type: str = "overloaded_error"
    message: str = "Overloaded"


Wait: TypeAlias = Pause | Hang | Cut
Interruption: TypeAlias = Wait | Garbage | UpstreamErrorEvent
Piece: TypeAlias = str | Interruption


@dataclass(frozen=True, slots=True, init=False)
class Text:
    """A text block: `Text("one delta", "the next", Pause(event), "and one more")`."""

    pieces: tuple[Piece, ...]

    def __init__(self, *pieces: Piece) -> None:
        object.__setattr__(self, "pieces", pieces)


@dataclass(frozen=True, slots=True, init=False)
class Thinking:
    """A thinking block, its deltas as in `Text`, closed by one `signature_delta`; an empty signature sends none."""

    pieces: tuple[Piece, ...]
    signature: str

    def __init__(self, *pieces: Piece, signature: str = "c2lnbmF0dXJl") -> None:
        object.__setattr__(self, "pieces", pieces)
        object.__setattr__(self, "signature", signature)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool.

    Attributes:
        id: what the result refers to, like `toolu_01`.
        name: the tool's full name in the request.
        input: the arguments.
        fragments: the arguments as they are streamed, one string a delta, and interruptions between them as in `Text`.
            Without them `input` is sent as one delta. They need not be valid JSON, nor agree with `input`.
    """

    id: str
    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    fragments: Sequence[Piece] = ()


Block: TypeAlias = Text | Thinking | ToolUse
Step: TypeAlias = str | Block | Interruption


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, under the names the Messages API gives them; `output_tokens` includes `thinking_tokens`."""

    input_tokens: int = 10
    output_tokens: int = 5
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    thinking_tokens: int = 0


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """One assistant message.

    Args:
        steps: content blocks, and interruptions between them; a bare string is a `Text` of one delta.
        stop_reason: when None, `tool_use` if a tool is called, else `end_turn`.
        usage: token counts.
        model: the model in the answer; None repeats the requested one.
        headers: further response headers, such as `anthropic-ratelimit-unified-status`.
        before_headers: waits before the status line.
        before_stop: interruptions of a stream between `message_delta`, with the stop reason, and `message_stop`.
    """

    steps: tuple[Block | Interruption, ...]
    stop_reason: StopReason
    usage: Usage
    model: str | None
    headers: Mapping[str, str]
    before_headers: tuple[Wait, ...]
    before_stop: tuple[Interruption, ...]

    def __init__(
        self,
        *steps: Step,
        stop_reason: StopReason | None = None,
        usage: Usage | None = None,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        before_headers: Sequence[Wait] = (),
        before_stop: Sequence[Interruption] = (),
    ) -> None:
        calls_a_tool = any(isinstance(step, ToolUse) for step in steps)
        blocks = tuple(Text(step) if isinstance(step, str) else step for step in steps)
        object.__setattr__(self, "steps", blocks)
        object.__setattr__(self, "stop_reason", stop_reason or ("tool_use" if calls_a_tool else "end_turn"))
        object.__setattr__(self, "usage", usage or Usage())
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "headers", dict(headers or {}))
        object.__setattr__(self, "before_headers", tuple(before_headers))
        object.__setattr__(self, "before_stop", tuple(before_stop))


@dataclass(frozen=True, slots=True)
class HttpError:
    """A refusal: an HTTP status and Anthropic's error object.

    Attributes:
        status: the HTTP status.
        type: Anthropic's error type, like `rate_limit_error`.
        message: the text of the error.
        headers: further response headers. `x-should-retry: false` stops the retries of Anthropic's own clients.
        before_headers: waits before the status line.
    """

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    before_headers: Sequence[Wait] = ()

    def with_headers(self, **headers: str) -> "HttpError":
        """Return the same refusal with more headers; `_` stands for `-`: `with_headers(retry_after="7")`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **more})


Answer: TypeAlias = Reply | HttpError

PROMPT_TOO_LONG = HttpError(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
AUTHENTICATION_ERROR = HttpError(401, "authentication_error", "invalid x-api-key")
PERMISSION_ERROR = HttpError(403, "permission_error", "Your API key does not have permission to use this resource.")
NOT_FOUND_ERROR = HttpError(404, "not_found_error", "The requested resource could not be found.")
REQUEST_TOO_LARGE = HttpError(413, "request_too_large", "Request exceeds the maximum size")
RATE_LIMIT_ERROR = HttpError(
    429, "rate_limit_error", "This request would exceed your rate limit.", {"retry-after": "1"}
)
API_ERROR = HttpError(500, "api_error", "Internal server error")
OVERLOADED_ERROR = HttpError(529, "overloaded_error", "Overloaded")
