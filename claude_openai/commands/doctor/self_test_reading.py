"""Read the answer to a turn of `--self-test`, and the request that Claude Code made for it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from claude_openai.commands.doctor.self_test_turns import PREFIX, SYSTEM, Kind, Said
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.standin.recorded import RecordedRequest

__all__ = ["added_text", "answer_in", "has_moved_results"]

SHOWN_CHARS: Final = 100
# Claude Code's own blocks come before those of the client.
_OWN_SYSTEM_BLOCKS: Final = 2


def added_text(kind: Kind, request: RecordedRequest) -> str:
    """Return the beginning of the text that Claude was sent besides the conversation.

    Raises:
        ValueError: a part of the conversation is missing.
    """
    system = "\n".join(request.system_text.splitlines()[_OWN_SYSTEM_BLOCKS:])
    if system != SYSTEM:
        raise ValueError(f"wrong system prompt: {system[:SHOWN_CHARS]!r}; expected {SYSTEM!r}")
    sent = _by_call(_said_to_claude(request))
    remaining, added = list(sent), list[Said]()
    for said in kind.sent:
        if said not in remaining:
            raise ValueError(
                f"block {shorten(str(said[1]))} is missing or out of order: Claude gets {str(sent)[-3 * SHOWN_CHARS :]}"
            )
        place = remaining.index(said)
        added += remaining[:place]
        del remaining[: place + 1]
    return " ".join(str(block) for _, block in (*added, *remaining))[:SHOWN_CHARS]


def has_moved_results(request: RecordedRequest) -> bool:
    """Return whether the results of parallel calls are not in the order of the calls."""
    said = _said_to_claude(request)
    return said != _by_call(said)


def _by_call(conversation: Iterable[Said]) -> list[Said]:
    """Return the conversation with results that follow each other in the order of their calls, which have numbers."""
    groups = groupby(conversation, lambda said: isinstance(said[1], tuple) and len(said[1]) == 2)
    return [said for are_results, group in groups for said in (sorted(group, key=str) if are_results else group)]


def _said_to_claude(request: RecordedRequest) -> list[Said]:
    """Return all blocks of a request's messages. A block of another kind than those of `Said` is returned as JSON."""
    found: list[Said] = []
    for message in request.messages:
        role, content = str(message.get("role")), message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        found += [(role, _block(block)) for block in blocks]
    return found


def _block(block: Mapping[str, Any]) -> str | tuple[str, ...]:
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "tool_use", "id": ident, "name": name, "input": arguments}:
            return ident, name.removeprefix(PREFIX), json.dumps(arguments)
        case {"type": "tool_result", "tool_use_id": ident, "content": content}:
            return ident, content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        case {"type": "image", "source": {"media_type": kind, "data": data}}:
            return (f"data:{kind};base64,{data}",)
    return json.dumps(block)


def answer_in(body: bytes, *, stream: bool) -> str:
    """Return the text of an answer, or the arguments of its call.

    Args:
        body: of a chat completion; of any of the APIs if it is a stream.
        stream: whether it is a stream.

    Raises:
        ValueError: the body is an error, or not an answer.
    """
    try:
        if not stream:
            return str(json.loads(body)["choices"][0]["message"]["content"])
        lines = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: {")]
        return "".join(part for line in lines for part in _parts(json.loads(line)))
    except (LookupError, TypeError) as error:
        raise ValueError(f"invalid answer: {body[:200]!r}") from error


def _parts(event: Mapping[str, Any]) -> Iterator[str]:
    if event.get("type") == "response.output_text.delta":
        yield event["delta"]
    if event.get("type") == "content_block_delta":
        yield event["delta"]["text"]
    if "error" in event:
        raise ValueError(event["error"]["message"])
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        yield delta.get("content") or ""
        for call in delta.get("tool_calls", ()):
            yield call["function"].get("arguments", "")
