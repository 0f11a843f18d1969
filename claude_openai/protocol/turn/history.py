"""The conversation of a request: system prompt, messages before the prompt, and the prompt."""

from collections.abc import Iterable
from dataclasses import dataclass

from claude_openai.protocol.turn.blocks import Block, Message, TextBlock, ThinkingBlock

__all__ = ["Transcript", "canonical"]


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as Claude gets it.

    Attributes:
        system: the texts of the system and developer messages before all others, joined by an empty line; may be "".
        turns: the history before the prompt, users and assistants alternating; may begin with the assistant.
        prompt: the user turn to answer.
    """

    system: str
    turns: tuple[Message, ...]
    prompt: Message


def canonical(turns: Iterable[Message]) -> tuple[Message, ...]:
    """Return the messages for a comparison, without thinking, and with adjacent texts of an assistant message joined.

    A client may send back the text of one turn in parts: on the Responses API, text after reasoning is a separate
    message. Only the Messages API has thinking, and a client may omit it.
    """
    return tuple(_with_texts_joined(turn) for turn in turns)


def _with_texts_joined(turn: Message) -> Message:
    if turn.role == "user":
        return turn
    blocks: list[Block] = []
    for block in turn.blocks:
        if isinstance(block, ThinkingBlock):
            continue
        if isinstance(block, TextBlock) and blocks and isinstance(blocks[-1], TextBlock):
            blocks[-1] = TextBlock(blocks[-1].text + block.text)
        else:
            blocks.append(block)
    return turn if len(blocks) == len(turn.blocks) else Message(turn.role, tuple(blocks))
