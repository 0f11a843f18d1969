"""The vocabulary of scripts: the answers and faults of the stand-in Messages API.

A script is data. A `Reply` is a sequence of content blocks. A block has deltas, one string each, and between deltas or
blocks there may be interruptions: a pause, a hang, a dropped connection, garbage bytes. An `HttpError` is an error
instead of a message; inside of a `Reply` it is an error event in the stream. `interruptions.py` defines all that is
not content, and `wire.py` makes the bytes.

Values that are not of this vocabulary raise a `TypeError` where they are written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from claude_openai.standin.interruptions import (
    API_ERROR,
    AUTHENTICATION_ERROR,
    INTERRUPTIONS,
    NOT_FOUND_ERROR,
    OVERLOADED_ERROR,
    PERMISSION_ERROR,
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    REQUEST_TOO_LARGE,
    AnyPiece,
    Cut,
    Die,
    Garbage,
    Hang,
    HttpError,
    Interruption,
    Pause,
    Piece,
    UpstreamErrorEvent,
    Wait,
    Waitable,
    piece_of,
    pieces_of,
    shown,
)

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
    "AnswerLike",
    "Block",
    "Cut",
    "Die",
    "Garbage",
    "Hang",
    "HttpError",
    "Interruption",
    "Json",
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
    "Verbatim",
    "Wait",
    "Waitable",
    "answer_of",
]

StopReason: TypeAlias = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence", "pause_turn", "refusal"]


@dataclass(frozen=True, slots=True, init=False)
class Text:
    """A text block: `Text("one delta", "the next", Pause(event), "and one more")`."""

    pieces: tuple[Piece, ...]

    def __init__(self, *pieces: AnyPiece) -> None:
        object.__setattr__(self, "pieces", pieces_of("Text", pieces))


@dataclass(frozen=True, slots=True, init=False)
class Thinking:
    """A thinking block, its deltas as in `Text`, closed by one `signature_delta`; an empty signature sends none."""

    pieces: tuple[Piece, ...]
    signature: str

    def __init__(self, *pieces: AnyPiece, signature: str = "c2lnbmF0dXJl") -> None:
        object.__setattr__(self, "pieces", pieces_of("Thinking", pieces))
        object.__setattr__(self, "signature", signature)


@dataclass(frozen=True, slots=True, init=False)
class ToolUse:
    """A call of a tool.

    Attributes:
        name: the client's name of the tool, or the full name in the request to Claude.
        input: the arguments.
        id: what the result refers to, like `toolu_01`. None: a new one each time, the same in each run of the script.
        fragments: the arguments as they are streamed, one string a delta, and interruptions between them as in `Text`.
            Without them `input` is sent as one delta. They need not be valid JSON, nor agree with `input`.
        fits: False for a call that the request does not allow, on purpose: `fake_claude` accepts it.
    """

    name: str
    input: Mapping[str, Any]
    id: str | None
    fragments: tuple[Piece, ...]
    fits: bool

    def __init__(
        self,
        name: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the name in the Messages API
        id: str | None = None,  # noqa: A002
        *,
        fragments: Sequence[AnyPiece] = (),
        fits: bool = True,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"invalid name of a ToolUse: {shown(name)}; expected a string")
        if input is not None and not isinstance(input, Mapping):
            raise TypeError(f"invalid input of the ToolUse {name!r}: {shown(input)}; expected a dict of arguments")
        if id is not None and not isinstance(id, str):
            raise TypeError(f"invalid id of the ToolUse {name!r}: {shown(id)}; expected a string")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "input", {} if input is None else input)
        object.__setattr__(self, "id", id)
        pieces = (fragments,) if isinstance(fragments, str) else tuple(fragments)
        object.__setattr__(self, "fragments", pieces_of("ToolUse", pieces))
        object.__setattr__(self, "fits", fits)


@dataclass(frozen=True, slots=True)
class Json:
    """The object that the request's `response_format` asks for; a text with its JSON if the request has none.

    Attributes:
        value: the object.
        fits: False for an object that does not match the schema, on purpose: `fake_claude` accepts it.
    """

    value: Any
    fits: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.value, Mapping):
            raise TypeError(f"invalid Json: {shown(self.value)}; expected a dict")


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A content block that is sent unchanged, for example of a tool that Claude's API runs."""

    block: Mapping[str, Any]


Block: TypeAlias = Text | Thinking | ToolUse | Json | Verbatim


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, under the names the Messages API gives them; `output_tokens` includes `thinking_tokens`.

    `web_search_requests` are searches of the API, which are billed too.
    """

    input_tokens: int = 10
    output_tokens: int = 5
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """One assistant message.

    Args:
        steps: content blocks, and interruptions between them. Bare strings are deltas of one text, with the
            interruptions between and after them: `Reply("one delta", Pause(60), "the next")`.
        stop_reason: when None, `tool_use` if a tool is called, else `end_turn`.
        usage: token counts.
        model: the model in the answer; None repeats the requested one.
        headers: further response headers, such as `anthropic-ratelimit-unified-status`.
        before_headers: waits before the status line.
        before_stop: interruptions of a stream between `message_delta`, with the stop reason, and `message_stop`.
        fits: False for a reply that does not keep the request's `tool_choice` or `response_format`, on purpose.
    """

    steps: tuple[Block | Interruption, ...]
    stop_reason: StopReason
    usage: Usage
    model: str | None
    headers: Mapping[str, str]
    before_headers: tuple[Wait, ...]
    before_stop: tuple[Interruption, ...]
    fits: bool

    def __init__(
        self,
        *steps: "Step",
        stop_reason: StopReason | None = None,
        usage: Usage | None = None,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        before_headers: Sequence[Wait] = (),
        before_stop: Sequence[Interruption] = (),
        fits: bool = True,
    ) -> None:
        calls_a_tool = any(isinstance(step, ToolUse) for step in steps)
        object.__setattr__(self, "steps", tuple(_steps(steps)))
        object.__setattr__(self, "stop_reason", stop_reason or ("tool_use" if calls_a_tool else "end_turn"))
        object.__setattr__(self, "usage", usage or Usage())
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "headers", dict(headers or {}))
        object.__setattr__(self, "before_headers", tuple(before_headers))
        object.__setattr__(self, "before_stop", tuple(before_stop))
        object.__setattr__(self, "fits", fits)

    def with_steps(self, *steps: Block | Interruption) -> "Reply":
        """Return the same reply with other steps; whether it stops for a tool follows from them."""
        return self._changed(steps, self.before_stop)

    def with_end(self, *interruptions: Interruption) -> "Reply":
        """Return the same reply with further interruptions between its stop reason and its end."""
        return self._changed(self.steps, (*self.before_stop, *interruptions))

    def _changed(self, steps: Sequence[Block | Interruption], before_stop: Sequence[Interruption]) -> "Reply":
        follows = self.stop_reason in ("tool_use", "end_turn")
        return Reply(
            *steps,
            stop_reason=None if follows else self.stop_reason,
            usage=self.usage,
            model=self.model,
            headers=self.headers,
            before_headers=self.before_headers,
            before_stop=before_stop,
            fits=self.fits,
        )


Step: TypeAlias = str | Block | Interruption | HttpError
Answer: TypeAlias = Reply | HttpError
# What stands for an answer in a script: a step alone is a reply of that step.
AnswerLike: TypeAlias = Answer | Step

_BLOCKS = (Text, Thinking, ToolUse, Json, Verbatim)
_WORDS = (
    "a string, Reply, Text, Thinking, ToolUse, Json, Pause, Hang, Cut, Die, Garbage, an error such as OVERLOADED_ERROR"
)


def answer_of(value: Any, place: str) -> Answer:
    """Return the answer that a value of a script stands for.

    Args:
        value: a reply, an error, or a step of a reply.
        place: where the value stands, for the error message.

    Raises:
        TypeError: it is not of this vocabulary.
    """
    if isinstance(value, Reply | HttpError):
        return value
    if isinstance(value, (str, *_BLOCKS, *INTERRUPTIONS)):
        return Reply(value)
    raise TypeError(f"invalid {place}: {shown(value)}; expected {_WORDS}, or a function of the request")


def _steps(steps: Iterable[Any]) -> Iterable[Block | Interruption]:
    """Yield the blocks and interruptions; strings, and what follows them up to the next block, become one text."""
    open_text: list[Piece] = []
    for number, step in enumerate(steps, 1):
        if isinstance(step, _BLOCKS):
            if open_text:
                yield Text(*open_text)
                open_text = []
            yield step
        elif isinstance(step, str) or (open_text and isinstance(step, (*INTERRUPTIONS, HttpError))):
            open_text.append(piece_of(step))
        elif isinstance(step, (*INTERRUPTIONS, HttpError)):
            yield cast("Interruption", piece_of(step))
        else:
            raise TypeError(f"invalid step {number} of a Reply: {shown(step)}; expected {_WORDS}")
    if open_text:
        yield Text(*open_text)
