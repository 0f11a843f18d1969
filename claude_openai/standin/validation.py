"""Refuses requests that the Messages API would refuse: `problem_of` returns the problem with the API's own text.

The checks cover the structure of a conversation: roles, results and their calls, empty parts, ids and tool names. The
API treats adjacent messages of one role as one message. Messages of role `system`, which Claude Code sends, come after
the user's and before the assistant's; a message that only sets the effort may be anywhere. Models, fields, pictures and
sizes are not checked. A request passes unless it is known that the API refuses it.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby, pairwise
from typing import Any, Final, TypeAlias

from claude_openai.protocol.limits.budget import Budget

__all__ = ["problem_of"]

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ROLES: Final = ("user", "assistant", "system")

_Block: TypeAlias = Mapping[str, Any]
# A message, or adjacent ones of one role, with the place of each block.
_Turn: TypeAlias = tuple[str, list[tuple[str, _Block]]]


def problem_of(body: Mapping[str, Any]) -> str | None:
    """Return the first problem for which the API would answer 400 `invalid_request_error`; None if there is none.

    Args:
        body: of a `POST /v1/messages`.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        return "messages: Field required" if messages is None else "messages: Input should be a valid list"
    return next(chain(_in_tools(body.get("tools") or []), _in_messages(messages)), None)


def _in_tools(tools: Sequence[Any]) -> Iterator[str]:
    names = [str(tool.get("name")) for tool in tools if isinstance(tool, Mapping)]
    for index, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            yield f"tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    yield from (f"tools: Tool names must be unique: {name}" for name in _twice(names))
    for index, tool in enumerate(tools):
        if tool.get("type", "custom") != "custom":  # a tool that the API runs has no schema
            continue
        schema, place = tool.get("input_schema"), f"tools.{index}.custom.input_schema"
        if not isinstance(schema, Mapping) or schema.get("type") != "object":
            yield f"{place}.type: Input should be 'object'"
        elif not schema.keys().isdisjoint(("oneOf", "allOf", "anyOf")):
            yield f"{place}: input_schema does not support oneOf, allOf, or anyOf at the top level"
        elif not _is_of_draft_2020_12(json.dumps(schema)):
            yield f"{place}: JSON schema is invalid. It must match JSON Schema draft 2020-12"


@lru_cache(maxsize=256)
def _is_of_draft_2020_12(schema: str) -> bool:
    from claude_openai.protocol.json_schema.drafts import draft_of
    from claude_openai.protocol.json_schema.metaschema import InvalidSchema, check_schema

    try:
        check_schema(json.loads(schema), draft_of({}), Budget(sys.maxsize))
    except InvalidSchema:
        return False
    return True


def _in_messages(messages: Sequence[Any]) -> Iterator[str]:
    if not messages:
        yield "messages: at least one message is required"
        return
    shapes = [problem for index, message in enumerate(messages) for problem in _shape(index, message)]
    if shapes:  # the other checks need valid shapes
        yield from shapes
        return
    placed = [(index, message) for index, message in enumerate(messages) if not _is_effort(message)]
    yield from _in_places([(index, str(message["role"])) for index, message in placed])
    for index, message in placed:
        is_final_answer = message["role"] == "assistant" and index == len(messages) - 1
        if not message["content"] and not is_final_answer:
            yield (
                f"messages.{index}: all messages must have non-empty content except for the optional final assistant"
                " message"
            )
    turns = list(_turns(messages))
    for role, blocks in turns:
        for place, block in blocks:
            yield from _in_block(role, place, block)
    calls = [str(block.get("id")) for _, blocks in turns for _, block in _of_type(blocks, "tool_use")]
    yield from (f"messages: `tool_use` ids must be unique: {call}" for call in _twice(calls))
    yield from _in_order(turns)
    yield from _in_pairs(turns)
    yield from _in_end(turns)


def _shape(index: int, message: Any) -> Iterator[str]:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        yield f"messages.{index}: Input should be an object with a role that is one of {', '.join(_ROLES)}"
        return
    content = message.get("content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        yield f"messages.{index}.content: Input should be a string or a list"
        return
    for number, block in enumerate(content):
        if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
            yield f"messages.{index}.content.{number}.type: Field required"


def _is_effort(message: Mapping[str, Any]) -> bool:
    effort = (message.get("output_config") or {}).get("effort")
    return message["role"] == "system" and not message["content"] and effort is not None


def _in_places(roles: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Check the order of roles."""
    if roles and roles[0][1] != "user":
        yield 'messages: first message must use the "user" role'
    for (_, before), (index, role) in pairwise(roles):
        if role == "system" and before != "user":
            yield f"messages.{index}: a system message must immediately follow a user turn"
        if role == "user" and before == "system":
            yield f"messages.{index - 1}: a system message must precede an assistant turn or end the messages"


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[_Turn]:
    """Yield the turns, without system messages."""
    said = [(index, message) for index, message in enumerate(messages) if message["role"] != "system"]
    for role, group in groupby(said, key=lambda pair: str(pair[1]["role"])):
        yield role, [block for index, message in group for block in _blocks(index, message["content"])]


def _blocks(index: int, content: str | Sequence[_Block]) -> Iterator[tuple[str, _Block]]:
    if isinstance(content, str):
        if content:
            yield f"messages.{index}.content", {"type": "text", "text": content}
        return
    for number, block in enumerate(content):
        yield f"messages.{index}.content.{number}", block


def _in_block(role: str, place: str, block: _Block) -> Iterator[str]:
    match block["type"]:
        case "text":
            yield from _in_text(place, str(block.get("text", "")))
        case "tool_use" if role != "assistant":
            yield f"{place}: `tool_use` blocks can only be in `assistant` messages"
        case "tool_result" if role != "user":
            yield f"{place}: `tool_result` blocks can only be in `user` messages"
        case "tool_use":
            if not _ID.fullmatch(str(block.get("id", ""))):
                yield f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            if not _TOOL_NAME.fullmatch(str(block.get("name", ""))):
                yield f"{place}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            if not isinstance(block.get("input"), Mapping):
                yield f"{place}.tool_use.input: Input should be a valid dictionary"
        case "tool_result":
            if not _ID.fullmatch(str(block.get("tool_use_id", ""))):
                yield f"{place}.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            content = block.get("content")
            for number, part in enumerate(content if isinstance(content, list) else []):
                # Blank text is accepted in results; only empty text is refused.
                if isinstance(part, Mapping) and part.get("type") == "text" and not part.get("text"):
                    yield f"{place}.tool_result.content.{number}: text content blocks must be non-empty"


def _in_text(place: str, text: str) -> Iterator[str]:
    if not text:
        yield f"{place}: text content blocks must be non-empty"
    elif not text.strip():
        yield f"{place}: text content blocks must contain non-whitespace text"


def _in_order(turns: Sequence[_Turn]) -> Iterator[str]:
    """Check that results come first in user messages, and calls last in assistant messages."""
    for role, blocks in turns:
        for (_, earlier), (place, block) in pairwise(blocks):
            if role == "user" and block["type"] == "tool_result" and earlier["type"] != "tool_result":
                yield f"{place}: `tool_result` blocks must come first in the content of a message"
            if role == "assistant" and block["type"] == "text" and earlier["type"] == "tool_use":
                yield f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after: text follows"


def _in_pairs(turns: Sequence[_Turn]) -> Iterator[str]:
    before: list[str] = []
    nothing: _Turn = ("", [])
    for (role, blocks), (next_role, next_blocks) in zip(turns, [*turns[1:], nothing], strict=True):
        results = _of_type(blocks, "tool_result") if role == "user" else []
        for place, block in results:
            if block.get("tool_use_id") not in before:
                yield (
                    f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: {block.get('tool_use_id')}. Each"
                    " `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        for twice in _twice(str(block.get("tool_use_id")) for _, block in results):
            yield f"messages: each tool_use must have a single result. Found multiple `tool_result` blocks: {twice}"
        before = [str(block.get("id")) for _, block in _of_type(blocks, "tool_use")]
        answered = _of_type(next_blocks, "tool_result") if next_role == "user" else []
        missing = [call for call in before if call not in {block.get("tool_use_id") for _, block in answered}]
        if missing:
            yield (
                f"{blocks[-1][0]}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next"
                " message."
            )


def _in_end(turns: Sequence[_Turn]) -> Iterator[str]:
    if not turns or turns[-1][0] != "assistant" or not turns[-1][1]:
        return
    last = turns[-1][1][-1][1]
    text = str(last.get("text", "")) if last["type"] == "text" else ""
    if text != text.rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


def _of_type(blocks: Iterable[tuple[str, _Block]], kind: str) -> list[tuple[str, _Block]]:
    return [(place, block) for place, block in blocks if block["type"] == kind]


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, number in Counter(names).items() if number > 1]
