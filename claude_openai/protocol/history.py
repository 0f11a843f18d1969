"""OpenAI's messages -> the system prompt, the turns before, and the prompt Claude is to answer.

Knows the roles and the order of a conversation. It deliberately does not know what content is made of (`content.py`),
and it invents no text: a conversation that opens with the assistant's greeting keeps that turn first, and whoever
hands the turns to Claude has to cope. A conversation ends with a user message; one that ends with the assistant's
words asks Claude to continue them, which this version cannot.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, Literal, TypeAlias

from claude_openai.errors import BadRequest
from claude_openai.protocol.content import TextBlock, assistant_blocks, content_blocks
from claude_openai.protocol.refusals import missing, unsupported_value, wrong_type, wrong_value

TurnRole: TypeAlias = Literal["user", "assistant"]
Role: TypeAlias = Literal["system", "user", "assistant"]

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said without the other: the texts of adjacent messages of one role, each a block of its own."""

    role: TurnRole
    blocks: tuple[TextBlock, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as Claude is to see it.

    Attributes:
        system: the texts of all system and developer messages, wherever they stood, joined by an empty line; may be "".
        turns: the history before the prompt, users and assistants alternating; may begin with the assistant.
        prompt: the user turn to answer.
    """

    system: str
    turns: tuple[Turn, ...]
    prompt: Turn


def read_messages(messages: Sequence[Any]) -> Transcript:
    """Turn the `messages` array of a request into a transcript; texts stay verbatim and in order.

    Messages without text are left out, except that the last user message must have some.

    Raises:
        BadRequest: naming the message, and the place in it, that is malformed or cannot be carried.
    """
    system: list[str] = []
    said: list[tuple[int, Turn]] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = _role(message, path)
        if role == "system":
            system.extend(block.text for block in content_blocks(message, path))
        elif role == "user":
            said.append((index, Turn(role, content_blocks(message, path))))
        elif blocks := assistant_blocks(message, path):
            said.append((index, Turn(role, blocks)))
    _check_end(said)
    *turns, prompt = _joined(turn for _, turn in said)
    return Transcript(system="\n\n".join(system), turns=tuple(turns), prompt=prompt)


def _role(message: Any, path: str) -> Role:
    if not isinstance(message, dict):
        raise wrong_type(path, "an object with 'role' and 'content'", message)
    role = message.get("role")
    if role is None:
        raise missing(f"{path}.role", "Send 'system', 'user' or 'assistant'.")
    if not isinstance(role, str):
        raise wrong_type(f"{path}.role", "a string", role)
    if role in ("tool", "function"):
        advice = f"Messages of role '{role}' are not supported yet by this version. Send only text messages."
        raise unsupported_value(f"{path}.role", advice)
    if role not in _ROLES:
        raise wrong_value(f"{path}.role", "'system', 'developer', 'user' or 'assistant'", role)
    return _ROLES[role]


def _check_end(said: Sequence[tuple[int, Turn]]) -> None:
    if not said:
        message = "There is no user message to answer. Send at least one message of role 'user'."
        raise BadRequest(message, code="invalid_value", param="messages")
    index, turn = said[-1]
    if turn.role == "assistant":
        message = "The last message is the assistant's, which this version cannot continue. End with a user message."
        raise unsupported_value(f"messages[{index}]", message)
    if not turn.blocks:
        raise wrong_value(f"messages[{index}].content", "a last user message with some visible text")


def _joined(turns: Iterable[Turn]) -> Iterator[Turn]:
    with_text = (turn for turn in turns if turn.blocks)
    for role, group in groupby(with_text, key=lambda turn: turn.role):
        yield Turn(role, tuple(chain.from_iterable(turn.blocks for turn in group)))
