"""OpenAI's messages -> the system prompt, the turns before, and the prompt Claude is to answer.

Knows the roles and the order of a conversation. It deliberately does not know what content is made of (`content.py`),
and it invents no text: a conversation that opens with the assistant's greeting keeps that turn first, and whoever
hands the turns to Claude has to cope. A conversation ends with a user message; one that ends with the assistant's
words asks Claude to continue them, which Claude Code cannot. Where nobody but the system has spoken, its last text is
what Claude is asked, as OpenAI's models take it. A text of the system between other messages stays there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, Literal, TypeAlias

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.bad_request import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.openai.content import (
    assistant_blocks,
    system_texts,
    texts_of,
    tool_result_block,
    tool_use_blocks,
    user_blocks,
)
from claude_openai.protocol.openai.turns import Piece, alternating
from claude_openai.protocol.turn.blocks import Block, TextBlock, ToolResultBlock, Turn, TurnRole

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as Claude is to see it.

    Attributes:
        system: the texts of the system and developer messages before all others, joined by an empty line; may be "".
        turns: the history before the prompt, users and assistants alternating; may begin with the assistant.
        prompt: the user turn to answer.
    """

    system: str
    turns: tuple[Turn, ...]
    prompt: Turn


def system_fields(fields: Mapping[str, Any]) -> list[str]:
    """The texts that the fields beside a conversation add to the front of its system prompt.

    Raises:
        BadRequest: naming what in them is malformed.
    """
    names = ("instructions", "system")
    return [text for name in names for text in texts_of(fields.get(name), name)]


def read_messages(messages: Sequence[Any], budget: Budget, system: Iterable[str] = ()) -> Transcript:
    """Turn the `messages` array of a request into a transcript; texts stay verbatim and in order.

    Messages without text are left out, except that the last user message must have some.

    Args:
        messages: of the request.
        budget: of the request.
        system: texts of the system prompt before those of the messages.

    Raises:
        BadRequest: naming the message, and the place in it, that is malformed or cannot be carried.
    """
    texts = list(system)
    pieces: list[Piece] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = _role(message, path)
        if role == "system" and not pieces:
            texts.extend(system_texts(message, path))
        else:
            pieces.append(_piece(message, role, path, budget))
    return transcript_of(texts, alternating(pieces), "messages")


def _piece(message: Mapping[str, Any], role: Role, path: str, budget: Budget) -> Piece:
    side: TurnRole = "user"
    blocks: tuple[Block, ...]
    match role:
        case "system":
            blocks = tuple(map(TextBlock, system_texts(message, path)))
        case "assistant":
            side = "assistant"
            blocks = assistant_blocks(message, path)
            calls = tool_use_blocks(message, path, budget)
            blocks += tuple(call for call in calls if call not in blocks)  # some clients send both forms
        case "tool":
            blocks = (tool_result_block(message, path),)
        case "user":
            blocks = _named(user_blocks(message, path), message.get("name"), path)
    return Piece(side, path, "tool_call_id", blocks, of_system=role == "system")


def transcript_of(system: Iterable[str], said: Sequence[tuple[str, Turn]], param: str) -> Transcript:
    """Put together what was said.

    Args:
        system: the texts of the system prompt.
        said: each turn with its place in the request; adjacent ones of one role become one.
        param: the field that holds them all.

    Raises:
        BadRequest: the end is nothing that Claude could answer.
    """
    texts = list(system)
    if texts and not said:
        said = [(param, Turn("user", (TextBlock(texts.pop()),)))]
    _check_end(said, param)
    *turns, prompt = _joined(turn for _, turn in said)
    return Transcript(system="\n\n".join(texts), turns=tuple(turns), prompt=prompt)


def canonical(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns for a comparison: adjacent texts of an assistant turn are one.

    What Claude says in one turn comes back in pieces if the client had it in pieces: on the Responses API, text that
    comes after reasoning is a message of its own.
    """
    return tuple(_with_texts_joined(turn) for turn in turns)


def _with_texts_joined(turn: Turn) -> Turn:
    if turn.role == "user":
        return turn
    blocks: list[Block] = []
    for block in turn.blocks:
        if isinstance(block, TextBlock) and blocks and isinstance(blocks[-1], TextBlock):
            blocks[-1] = TextBlock(blocks[-1].text + block.text)
        else:
            blocks.append(block)
    return turn if len(blocks) == len(turn.blocks) else Turn(turn.role, tuple(blocks))


def _named(blocks: tuple[Block, ...], name: Any, path: str) -> tuple[Block, ...]:
    """Who speaks, in a conversation of several: Claude's API has no place for it but the text."""
    if name is None or not blocks:
        return blocks
    if not isinstance(name, str):
        raise wrong_type(f"{path}.name", "a string", name)
    return (TextBlock(f"{name}:"), *blocks) if name.strip() else blocks


def _role(message: Any, path: str) -> Role:
    if not isinstance(message, dict):
        raise wrong_type(path, "an object with 'role' and 'content'", message)
    role = message.get("role")
    if role is None:
        raise missing(f"{path}.role", "Send 'system', 'user' or 'assistant'.")
    if not isinstance(role, str):
        raise wrong_type(f"{path}.role", "a string", role)
    if role not in _ROLES:
        raise wrong_value(f"{path}.role", "'system', 'developer', 'user', 'assistant' or 'tool'", role)
    return _ROLES[role]


def _check_end(said: Sequence[tuple[str, Turn]], param: str) -> None:
    if not said:
        message = "There is no message to answer. Send at least one of role 'user' with some visible text."
        raise BadRequest(message, code="invalid_value", param=param)
    path, turn = said[-1]
    if turn.role == "assistant":
        message = "The last message is the assistant's, which Claude Code cannot continue. End with a user message."
        raise unsupported_value(path, message)
    if not turn.blocks:
        raise wrong_value(f"{path}.content", "a last user message with some visible text")


def _joined(turns: Iterable[Turn]) -> Iterator[Turn]:
    # One of results alone, which have gone to their call, says nothing any more.
    for role, group in groupby((turn for turn in turns if turn.blocks), key=lambda turn: turn.role):
        first, *others = group
        if not others:
            yield first
            continue
        blocks = chain.from_iterable(turn.blocks for turn in (first, *others))
        # Claude demands the results of calls first.
        yield Turn(
            role, tuple(sorted(blocks, key=lambda block: role == "user" and not isinstance(block, ToolResultBlock)))
        )
