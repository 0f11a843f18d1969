"""A recorded turn: what the client sent, and what Claude answered. Pure data; `lines` reads and writes it.

Times are in ms since the request; they are recorded only with `--record-times`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.errors import ApiError, ConfigError
from claude_openai.protocol.turn.events import FinishReason, Usage

__all__ = ["Answer", "Block", "Call", "Cancelled", "CassetteError", "Completed", "End", "Entry", "Failed", "Passage"]


class CassetteError(ConfigError):
    """A file cannot be used as a cassette; the text names the file and, if it has one, the line."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive text, or consecutive thinking.

    Attributes:
        deltas: time (ms) and length (characters) of each delta, () without times. The lengths add up to the text's.
    """

    type: Literal["text", "thinking"]
    text: str
    deltas: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the client's tools, at `ms`."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    ms: int | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    finish_reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The error that the client got, see `ApiError`."""

    status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    retry_after_s: int | None = None
    may_retry: bool = True

    @classmethod
    def of(cls, error: ApiError) -> "Failed":
        return cls(
            error.status, error.type, error.code, error.message, error.param, error.retry_after_s, error.may_retry
        )


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client left before the answer was complete."""


Block: TypeAlias = Passage | Call
End: TypeAlias = Completed | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class Answer:
    """What Claude answered, as far as it came.

    Attributes:
        model: the id of the model that answered, "" if none did.
        ms: time of the end, None without times.
    """

    content: tuple[Block, ...]
    end: End
    model: str = ""
    ms: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded turn.

    Attributes:
        line: its line in the file, counted from 1; 0 if it is not from a file.
    """

    request: ClientRequest
    answer: Answer
    line: int = 0
