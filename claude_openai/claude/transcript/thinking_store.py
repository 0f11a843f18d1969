"""Keeps the thinking of tool turns, for replays of their history.

Claude requires the signed thinking before a call together with the call's result, and OpenAI's APIs have no field for
it. So the thinking is stored by caller and call ids, which Claude makes and which cannot be guessed, and is put back
into a history with exactly these calls of the same caller. The store is bounded in size and drops the oldest entries
first.
"""

import json
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from claude_openai.protocol.turn.blocks import Message, ThinkingBlock, ToolUseBlock

__all__ = ["Thinking", "ThinkingStore"]

MAX_CHARS: Final = 16 * 1024 * 1024
_Key: TypeAlias = tuple[Hashable, frozenset[str]]


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
    """The thinking before Claude's latest calls.

    Args:
        max_chars: the size of all that is kept; the oldest go first.
    """

    def __init__(self, max_chars: int = MAX_CHARS) -> None:
        self._max_chars = max_chars
        self._kept: OrderedDict[_Key, tuple[ThinkingBlock, ...]] = OrderedDict()
        self._size = 0

    def keep(self, owner: Hashable, calls: Sequence[str], thinking: tuple[ThinkingBlock, ...]) -> None:
        """Store the thinking that preceded these calls."""
        if not calls or not thinking:
            return
        self._drop((owner, frozenset(calls)))
        self._kept[owner, frozenset(calls)] = thinking
        self._size += _size(thinking)
        while self._size > self._max_chars:
            self._drop(next(iter(self._kept)))

    def restored(self, owner: Hashable, turns: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages with the stored thinking before the calls."""
        return tuple(self._restored(owner, turn) for turn in turns)

    def _restored(self, owner: Hashable, turn: Message) -> Message:
        calls = frozenset(block.id for block in turn.blocks if isinstance(block, ToolUseBlock))
        thinking = self._kept.get((owner, calls), ())
        if not thinking:
            return turn
        # The client's copy is replaced, because the stored one has the model that produced it.
        others = (block for block in turn.blocks if not isinstance(block, ThinkingBlock))
        return replace(turn, blocks=(*thinking, *others))

    def _drop(self, key: _Key) -> None:
        self._size -= _size(self._kept.pop(key, ()))


def _size(thinking: Sequence[ThinkingBlock]) -> int:
    return sum(len(block.json) for block in thinking)
