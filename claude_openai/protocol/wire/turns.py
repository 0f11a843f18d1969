"""Converts the items of a request, of any API, to alternating messages in which each result follows its call.

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
    """A message of a request, or an item of a Responses request.

    Attributes:
        role: the role of the message that it becomes part of.
        path: its path in the request, like `messages[2]`.
        id_key: the name of its field with the id of a call, for errors.
        blocks: its content; may be empty.
        of_system: it is a system message, so its blocks are texts.
    """

    role: Role
    path: str
    id_key: str
    blocks: tuple[Block, ...]
    of_system: bool = False


@dataclass(slots=True, eq=False)
class _MessageBuilder:
    """A message that is being built."""

    role: Role
    path: str
    content: list[Block] = field(default_factory=list)
    reminders: set[int] = field(default_factory=set)  # indexes in `content` of the texts of system messages
    calls: list[ToolUseBlock] = field(default_factory=list)
    called_before: set[ToolUseBlock] = field(default_factory=set)  # calls of earlier items
    results: list[ToolResultBlock] = field(default_factory=list)  # results of `calls`
    hashed: set[ToolResultBlock] = field(default_factory=set)  # the first `hashed_count` of `results`
    hashed_count: int = 0
    # The results in this message, each with its call and the message of the call.
    came: list[tuple["_MessageBuilder", ToolUseBlock, ToolResultBlock]] = field(default_factory=list)

    def has_result(self, result: ToolResultBlock) -> bool:
        """Return whether `results` has an equal one. They are only hashed if this is called."""
        self.hashed.update(self.results[self.hashed_count :])
        self.hashed_count = len(self.results)
        return result in self.hashed

    def blocks(self, *, beside_results: bool) -> list[Block]:
        if not self.reminders or (len(self.reminders) == len(self.content) and not beside_results):
            return self.content
        return [
            reminder(word.text) if number in self.reminders and isinstance(word, TextBlock) else word
            for number, word in enumerate(self.content)
        ]


class _Conversation:
    def __init__(self) -> None:
        self.sides: list[_MessageBuilder] = []
        # By the id of a call: the last message that used the id, and its calls with this id that have no result.
        self._callers: dict[str, _MessageBuilder] = {}
        self._open: dict[str, deque[ToolUseBlock]] = {}

    def end(self) -> None:
        """Move calls to the last assistant message if the conversation ends with only their results."""
        last = self.sides[-1]
        if last.content or not last.came or self.sides[-2].calls:
            return
        moved = {id(block) for _, call, result in last.came for block in (call, result)}
        for caller in {caller for caller, _, _ in last.came}:
            caller.calls = [call for call in caller.calls if id(call) not in moved]
            caller.results = [result for result in caller.results if id(result) not in moved]
        self.sides[-2].calls = [call for _, call, _ in last.came]
        self.sides[-2].results = [result for _, _, result in last.came]

    def add(self, piece: RequestItem) -> None:
        if not self.sides or self.sides[-1].role != piece.role:
            self.sides.append(_MessageBuilder(piece.role, piece.path))
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
                    side.reminders.add(len(side.content))
                side.content.append(block)
        if calls:
            for call in calls:
                if call not in side.called_before:
                    self._call(call, side)
            side.called_before.update(calls)

    def _call(self, call: ToolUseBlock, side: _MessageBuilder) -> None:
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
    """Return the messages, each with the path of its last item.

    Items without content are omitted, except a user's last one, which becomes a message without blocks.

    Raises:
        BadRequest: a result has no call, or a call at the end of the conversation has no result.
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
        turns.append((side.path, Message(side.role, (*side.blocks(beside_results=False), *side.calls))))
        if side.calls:
            answer = sides.popleft() if sides else _MessageBuilder("user", side.path)
            results = _all_results(side, is_last=not sides and not answer.content)
            turns.append((answer.path, Message("user", (*results, *answer.blocks(beside_results=True)))))
    return turns


def reminder(text: str) -> TextBlock:
    """Return a text of a system message within a user message, in the format of Claude Code."""
    return TextBlock(f"<system-reminder>\n{text}\n</system-reminder>")


def _all_results(side: _MessageBuilder, *, is_last: bool) -> Sequence[ToolResultBlock]:
    if len(side.results) == len(side.calls):  # results are only added for calls without one
        return side.results
    lacking = Counter(call.id for call in side.calls) - Counter(result.call_id for result in side.results)
    if is_last:
        shown = ", ".join(map(shorten, islice(lacking, SHOWN_IDS)))
        others = f" and {len(lacking) - SHOWN_IDS} others" if len(lacking) > SHOWN_IDS else ""
        message = (
            "An assistant message with tool calls must be followed by the result of each of them. There is no result"
            f" for: {shown}{others}."
        )
        raise BadRequest(message, code="invalid_value", param=side.path)
    return [*side.results, *(ToolResultBlock(call_id, NO_RESULT, is_error=True) for call_id in lacking.elements())]
