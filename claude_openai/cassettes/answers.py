"""Makes the recorded answer of a turn from its events."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from claude_openai.cassettes.client_request import read_arguments
from claude_openai.cassettes.entry import Answer, Block, Call, Cancelled, Completed, End, Failed, Passage
from claude_openai.cassettes.ids import Rename
from claude_openai.cassettes.masking import Mask, mask_values
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

__all__ = ["answer_of_events", "cleaned"]

_TYPES: Final[dict[type[TextDelta | ReasoningDelta], Literal["text", "thinking"]]] = {
    TextDelta: "text",
    ReasoningDelta: "thinking",
}


def answer_of_events(events: Iterable[tuple[int, Event]], ended_ms: int, *, keep_times: bool) -> Answer:
    """Return the answer; it is `Cancelled` if the events have no end.

    Args:
        events: with their times in ms.
        ended_ms: time of the end.
        keep_times: whether the answer has times.
    """
    content: list[Block] = []
    deltas: list[tuple[int, TextDelta | ReasoningDelta]] = []
    model, end = "", None
    for ms, event in events:
        if isinstance(event, ReasoningEnd | SearchStarted | SearchEnded):
            continue
        if deltas and type(event) is not type(deltas[-1][1]):
            content.append(_passage(deltas, keep_times=keep_times))
            deltas = []
        match event:
            case TextDelta() | ReasoningDelta():
                deltas.append((ms, event))
            case ToolCall():
                content.append(_call(event, ms if keep_times else None))
            case TurnStarted():
                model = event.model
            case TurnCompleted() | TurnFailed():
                end = _end(event)
    if deltas:
        content.append(_passage(deltas, keep_times=keep_times))
    return Answer(tuple(content), end or Cancelled(), model, ended_ms if keep_times else None)


def cleaned(answer: Answer, mask: Mask, rename: Rename) -> Answer:
    """Return the answer with its secrets masked and its ids renamed."""
    end = replace(answer.end, message=mask(answer.end.message)) if isinstance(answer.end, Failed) else answer.end
    return replace(answer, content=tuple(_cleaned_block(block, mask, rename) for block in answer.content), end=end)


def _passage(deltas: Sequence[tuple[int, TextDelta | ReasoningDelta]], *, keep_times: bool) -> Passage:
    text = "".join(delta.text for _, delta in deltas)
    sizes = tuple((ms, len(delta.text)) for ms, delta in deltas) if keep_times else ()
    return Passage(_TYPES[type(deltas[0][1])], text, sizes)


def _call(event: ToolCall, ms: int | None) -> Call:
    arguments = read_arguments(event.arguments)
    # As in the requests of clients, see `content.call_arguments`.
    return Call(event.id, event.name, {"arguments": event.arguments} if arguments is None else arguments, ms)


def _end(event: TurnCompleted | TurnFailed) -> End:
    if isinstance(event, TurnFailed):
        return Failed.of(event.error)
    return Completed(event.finish_reason, event.usage)


def _cleaned_block(block: Block, mask: Mask, rename: Rename) -> Block:
    if isinstance(block, Call):
        return replace(block, id=rename(block.id), arguments=mask_values(block.arguments, mask))
    text = mask(block.text)
    return replace(block, text=text, deltas=_fitted(block.deltas, len(text)))


def _fitted(deltas: Sequence[tuple[int, int]], chars: int) -> tuple[tuple[int, int], ...]:
    """Return the deltas for a text of another length: their times stay, the last takes what is left."""
    fitted = []
    for ms, size in deltas:
        size = min(size, chars)
        fitted.append((ms, size))
        chars -= size
    if fitted:
        fitted[-1] = (fitted[-1][0], fitted[-1][1] + chars)
    return tuple(fitted)
