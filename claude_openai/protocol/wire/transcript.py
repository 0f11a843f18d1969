"""Builds the transcript from the alternating messages of a request."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

from claude_openai.errors import BadRequest
from claude_openai.protocol.turn.blocks import Message, TextBlock, ToolResultBlock
from claude_openai.protocol.turn.history import Transcript
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_value

__all__ = ["transcript_of"]


def transcript_of(system: Iterable[str], messages: Sequence[tuple[str, Message]], param: str) -> Transcript:
    """Return the transcript of a conversation.

    Args:
        system: the texts of the system prompt.
        messages: the messages with their paths in the request; adjacent ones of one role are joined.
        param: the field of the request with all messages.

    Raises:
        BadRequest: the conversation does not end with a message that Claude can answer.
    """
    texts = list(system)
    if texts and not messages:
        messages = [(param, Message("user", (TextBlock(texts.pop()),)))]
    _check_end(messages, param)
    *turns, prompt = _joined(turn for _, turn in messages)
    return Transcript(system="\n\n".join(texts), turns=tuple(turns), prompt=prompt)


def _check_end(messages: Sequence[tuple[str, Message]], param: str) -> None:
    if not messages:
        message = "There is no message to answer. Send at least one of role 'user' with some visible text."
        raise BadRequest(message, code="invalid_value", param=param)
    path, turn = messages[-1]
    if turn.role == "assistant":
        message = "The last message is the assistant's, which Claude Code cannot continue. End with a user message."
        raise unsupported_value(path, message)
    if not turn.blocks:
        raise wrong_value(f"{path}.content", "a last user message with some visible text")


def _joined(turns: Iterable[Message]) -> Iterator[Message]:
    # A message without blocks is dropped: it contained only results, which were moved to their calls.
    for role, group in groupby((turn for turn in turns if turn.blocks), key=lambda turn: turn.role):
        first, *others = group
        if not others:
            yield first
            continue
        blocks = chain.from_iterable(turn.blocks for turn in (first, *others))
        # Claude's API requires results before other blocks.
        yield Message(
            role, tuple(sorted(blocks, key=lambda block: role == "user" and not isinstance(block, ToolResultBlock)))
        )
