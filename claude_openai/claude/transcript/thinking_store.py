"""Keeps Claude's thinking, for replays of the history that it belongs to.

Claude requires the signed thinking before a call together with the call's result, a live conversation has that of all
answers, and OpenAI's APIs have no field for it. So it is stored by its owner and what only this answer has: the ids of
its calls, which Claude makes and which cannot be guessed, or else the whole history that ends with it. It is put back
into a history of the same owner with that answer. The store is bounded in size and drops the oldest entries first.
"""

import json
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from claude_openai.protocol.turn.blocks import Message, ThinkingBlock, ToolUseBlock
from claude_openai.protocol.turn.history import canonical

__all__ = ["Thinking", "ThinkingStore"]

MAX_CHARS: Final = 16 * 1024 * 1024
_Key: TypeAlias = tuple[Hashable, frozenset[str] | int]


class Thinking:
    """Collects the thinking blocks of one message from its stream events."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, Any]] = []
        self._model = ""

    def feed(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"type": "message_start", "message": message}:
                self._blocks, self._model = [], str(message.get("model"))
            case {"type": "content_block_start", "content_block": {"type": "thinking" | "redacted_thinking"} as block}:
                self._blocks.append(dict(block))
            case {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": str(text)}} if (
                self._blocks
            ):
                self._blocks[-1]["thinking"] += text
            case {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": str(text)}} if (
                self._blocks
            ):
                self._blocks[-1]["signature"] = text

    def blocks(self) -> tuple[ThinkingBlock, ...]:
        """Return the signed blocks; Claude refuses unsigned ones."""
        signed = (block for block in self._blocks if block.get("signature") or block.get("data"))
        return tuple(ThinkingBlock(json.dumps(block), self._model) for block in signed)


class ThinkingStore:
    """The thinking of Claude's latest answers.

    Args:
        max_chars: the size of all that is kept; the oldest go first.
    """

    def __init__(self, max_chars: int = MAX_CHARS) -> None:
        self._max_chars = max_chars
        self._kept: OrderedDict[_Key, tuple[ThinkingBlock, ...]] = OrderedDict()
        self._size = 0

    def keep(self, owner: Hashable, history: Sequence[Message], thinking: tuple[ThinkingBlock, ...]) -> None:
        """Store the thinking of the answer with which a history ends."""
        if not thinking:
            return
        key = owner, list(_names(history))[-1]
        self._drop(key)
        self._kept[key] = thinking
        self._size += _size(thinking)
        while self._size > self._max_chars:
            self._drop(next(iter(self._kept)))

    def restored(self, owner: Hashable, turns: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages of a history with the stored thinking in its answers."""
        return tuple(self._restored((owner, name), turn) for name, turn in zip(_names(turns), turns, strict=True))

    def _restored(self, key: _Key, turn: Message) -> Message:
        thinking = self._kept.get(key, ())
        if not thinking:
            return turn
        # The client's copy is replaced, because the stored one has the model that produced it.
        others = (block for block in turn.blocks if not isinstance(block, ThinkingBlock))
        return replace(turn, blocks=(*thinking, *others))

    def _drop(self, key: _Key) -> None:
        self._size -= _size(self._kept.pop(key, ()))


def _size(thinking: Sequence[ThinkingBlock]) -> int:
    return sum(len(block.json) for block in thinking)


def _names(history: Sequence[Message]) -> Iterator[frozenset[str] | int]:
    """Yield the name of each message: the ids of its calls, or a hash of the history up to it."""
    so_far = 0
    for turn in canonical(history):
        so_far = hash((so_far, turn))
        calls = frozenset(block.id for block in turn.blocks if isinstance(block, ToolUseBlock))
        yield calls or so_far
