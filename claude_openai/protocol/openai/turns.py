"""Converts the items of a request, of both APIs, to alternating messages in which each result follows its call.

- Adjacent items of one role become one message.
- A result is moved to the user message after the call: Claude's API accepts it nowhere else, and clients put messages
  between the two. Duplicates, from chains of proxies, are dropped.
- A call without a result gets `NO_RESULT`, because Claude's API requires one. If the conversation ends with calls, a
  missing result is an error of the client.
- If results come after other messages and end the conversation, Claude must answer them, so their calls are moved to
  the end of the last assistant message.
- A system message in the middle becomes part of the user message around it, in the format in which Claude Code adds
  such texts; if it is the whole message, it is the prompt.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.blocks import Block, Message, Role, TextBlock, ToolResultBlock, ToolUseBlock

__all__ = ["NO_RESULT", "RequestItem", "alternating", "reminder"]

NO_RESULT: Final = (TextBlock("[No result: the call was interrupted.]"),)
SHOWN_IDS: Final = 10


@dataclass(frozen=True, slots=True)
class RequestItem:
    """A message or item.

    Attributes:
        role: whose turn it is a part of.
        path: where it stands in the request, like `messages[2]`.
        id_key: its field with the id of a call.
        blocks: what it says; there may be nothing.
        of_system: the system says it, and only texts.
    """

    role: Role
    path: str
    id_key: str
    blocks: tuple[Block, ...]
    of_system: bool = False


@dataclass(slots=True, eq=False)
class _Side:
    """A turn under way."""

    role: Role
    path: str
    words: list[Block] = field(default_factory=list)
    reminders: set[int] = field(default_factory=set)  # which of the words are the system's
    calls: list[ToolUseBlock] = field(default_factory=list)
    called_before: set[ToolUseBlock] = field(default_factory=set)  # by earlier pieces
    results: list[ToolResultBlock] = field(default_factory=list)  # of an assistant's calls
    given: set[ToolResultBlock] = field(default_factory=set)  # the first `hashed` of them
    hashed: int = 0
    came: list[tuple["_Side", ToolUseBlock, ToolResultBlock]] = field(default_factory=list)  # results in this turn

    def has_result(self, result: ToolResultBlock) -> bool:
        """Whether an equal one is among its results, which are hashed only when that is asked."""
        self.given.update(self.results[self.hashed :])
        self.hashed = len(self.results)
        return result in self.given

    def said(self, *, beside_results: bool) -> list[Block]:
        if not self.reminders or (len(self.reminders) == len(self.words) and not beside_results):
            return self.words
        return [
            reminder(word.text) if number in self.reminders and isinstance(word, TextBlock) else word
            for number, word in enumerate(self.words)
        ]


class _Conversation:
    def __init__(self) -> None:
        self.sides: list[_Side] = []
        # The turn that called last under an id, and those of its calls under it that have no result.
        self._callers: dict[str, _Side] = {}
        self._open: dict[str, deque[ToolUseBlock]] = {}

    def end(self) -> None:
        """Move calls to the assistant's last turn, if the conversation ends with nothing but their results."""
        last = self.sides[-1]
        if last.words or not last.came or self.sides[-2].calls:
            return
        moved = {id(block) for _, call, result in last.came for block in (call, result)}
        for caller in {caller for caller, _, _ in last.came}:
            caller.calls = [call for call in caller.calls if id(call) not in moved]
            caller.results = [result for result in caller.results if id(result) not in moved]
        self.sides[-2].calls = [call for _, call, _ in last.came]
        self.sides[-2].results = [result for _, _, result in last.came]

    def add(self, piece: RequestItem) -> None:
        if not self.sides or self.sides[-1].role != piece.role:
            self.sides.append(_Side(piece.role, piece.path))
        side = self.sides[-1]
        side.path = piece.path
        calls = []
        for block in piece.blocks:
            if isinstance(block, ToolUseBlock):
                calls.append(block)
            elif isinstance(block, ToolResultBlock):
                self._answer(block, piece)
            else:
                if piece.of_system:
                    side.reminders.add(len(side.words))
                side.words.append(block)
        if calls:
            for call in calls:
                if call not in side.called_before:
                    self._call(call, side)
            side.called_before.update(calls)

    def _call(self, call: ToolUseBlock, side: _Side) -> None:
        if self._callers.get(call.id) is not side:
            self._callers[call.id], self._open[call.id] = side, deque()
        self._open[call.id].append(call)
        side.calls.append(call)

    def _answer(self, result: ToolResultBlock, piece: RequestItem) -> None:
        caller = self._callers.get(result.call_id)
        if caller is not None and self._open[result.call_id]:
            call = self._open[result.call_id].popleft()
            caller.results.append(result)
            self.sides[-1].came.append((caller, call, result))
        elif caller is None or not caller.has_result(result):
            message = (
                f"'{piece.path}' is a tool result for {shorten(result.call_id)}, which the assistant did not call"
                " before it, or which has another result already."
            )
            raise BadRequest(message, code="invalid_value", param=f"{piece.path}.{piece.id_key}")


def alternating(pieces: Sequence[RequestItem]) -> list[tuple[str, Message]]:
    """The turns, each with the place of its last piece.

    A last turn of the user may say nothing. Pieces that say nothing are left out elsewhere.

    Raises:
        BadRequest: a result belongs to no call, or a call has none and the conversation ends with it.
    """
    conversation = _Conversation()
    for number, piece in enumerate(pieces, 1):
        if piece.blocks or (piece.role == "user" and number == len(pieces)):
            conversation.add(piece)
    if conversation.sides:
        conversation.end()
    sides = deque(conversation.sides)
    turns: list[tuple[str, Message]] = []
    while sides:
        side = sides.popleft()
        turns.append((side.path, Message(side.role, (*side.said(beside_results=False), *side.calls))))
        if side.calls:
            answer = sides.popleft() if sides else _Side("user", side.path)
            results = _all_results(side, is_last=not sides and not answer.words)
            turns.append((answer.path, Message("user", (*results, *answer.said(beside_results=True)))))
    return turns


def reminder(text: str) -> TextBlock:
    """What the system says beside the user, or beside results."""
    return TextBlock(f"<system-reminder>\n{text}\n</system-reminder>")


def _all_results(side: _Side, *, is_last: bool) -> Sequence[ToolResultBlock]:
    if len(side.results) == len(side.calls):  # each result has gone to a call of its own
        return side.results
    lacking = Counter(call.id for call in side.calls) - Counter(result.call_id for result in side.results)
    if is_last:
        shown = ", ".join(map(shorten, islice(lacking, SHOWN_IDS)))
        others = f" and {len(lacking) - SHOWN_IDS} others" if len(lacking) > SHOWN_IDS else ""
        message = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. There is no result for: {shown}{others}."
        )
        raise BadRequest(message, code="invalid_value", param=side.path)
    return [*side.results, *(ToolResultBlock(call_id, NO_RESULT, is_error=True) for call_id in lacking.elements())]
