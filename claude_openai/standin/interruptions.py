"""What can happen in an answer of a script besides content: waits, faults, errors.

This module does not import trio: anything with an async `wait()` can end a pause.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias

__all__ = [
    "API_ERROR",
    "AUTHENTICATION_ERROR",
    "INTERRUPTIONS",
    "NOT_FOUND_ERROR",
    "OVERLOADED_ERROR",
    "PERMISSION_ERROR",
    "PROMPT_TOO_LONG",
    "RATE_LIMIT_ERROR",
    "REQUEST_TOO_LARGE",
    "AnyPiece",
    "Cut",
    "Die",
    "Garbage",
    "Hang",
    "HttpError",
    "Interruption",
    "Pause",
    "Piece",
    "UpstreamErrorEvent",
    "Wait",
    "Waitable",
    "piece_of",
    "pieces_of",
    "shown",
]


class Waitable(Protocol):
    """What a pause can wait for; `trio.Event` is one."""

    async def wait(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Pause:
    """Send everything before this, then wait for `until`: seconds, or an event.

    Raises:
        ValueError: the seconds are negative, infinite or not a number.
        TypeError: it is neither a number nor an event.
    """

    until: float | Waitable

    def __post_init__(self) -> None:
        if isinstance(self.until, bool) or not (isinstance(self.until, int | float) or hasattr(self.until, "wait")):
            raise TypeError(f"invalid end of a Pause: {shown(self.until)}; expected seconds or an event")
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
class Die:
    """The process of Claude Code dies. `MessagesApi` alone cannot do that: it drops the connection instead."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Raw bytes in the body of the answer."""

    data: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise TypeError(f"invalid Garbage: {shown(self.data)}; expected bytes")


@dataclass(frozen=True, slots=True)
class UpstreamErrorEvent:
    """An error after the answer has begun: an SSE `error` event, and then the stream ends.

    An answer that is not streamed becomes an `HttpError` with the status that belongs to `type`.
    """

    type: str = "overloaded_error"
    message: str = "Overloaded"


Wait: TypeAlias = Pause | Hang | Cut | Die
Interruption: TypeAlias = Wait | Garbage | UpstreamErrorEvent
Piece: TypeAlias = str | Interruption


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


# What may be written as a piece; an error becomes an error event.
AnyPiece: TypeAlias = Piece | HttpError
INTERRUPTIONS: Final = (Pause, Hang, Cut, Die, Garbage, UpstreamErrorEvent)


def pieces_of(block: str, pieces: Iterable[Any]) -> tuple[Piece, ...]:
    """Check and return the pieces of a block.

    Raises:
        TypeError: one is neither a string, an interruption nor an error.
    """
    for number, piece in enumerate(pieces, 1):
        if not isinstance(piece, (str, HttpError, *INTERRUPTIONS)):
            expected = "a string, Pause, Hang, Cut, Die, Garbage, or an error such as OVERLOADED_ERROR"
            raise TypeError(f"invalid part {number} of a {block}: {shown(piece)}; expected {expected}")
    return tuple(piece_of(piece) for piece in pieces)


def piece_of(piece: Any) -> Piece:
    """Return a piece for what is written: an error is an error event in the stream."""
    found: Piece = UpstreamErrorEvent(piece.type, piece.message) if isinstance(piece, HttpError) else piece
    return found


def shown(value: object) -> str:
    """Return a value for an error message, with its type."""
    text = repr(value)
    return f"{text if len(text) <= 100 else text[:99] + '…'} ({type(value).__name__})"


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
