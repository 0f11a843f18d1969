"""The turns of `--self-test`: what a client asks, what the stand-in answers, and what Claude must have been sent.

A table, and the reading of both sides. Runs nothing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import Reply, Text, ToolUse

__all__ = ["START", "Kind", "Said", "answer_in", "kinds", "said_to_claude", "system_prompt"]

# Role and block: a text, a call (its id, name and arguments as JSON), or a result (the id of its call, text).
Said: TypeAlias = tuple[str, str | tuple[str, ...]]

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
MODEL: Final = "claude"
SYSTEM: Final = "You are a test."
PREFIX: Final = "mcp__openai__"
# Claude Code's own, in front of the client's.
_OWN_SYSTEM_BLOCKS: Final = 2

_OBJECT: Final = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
_TOOL: Final = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": _OBJECT}}
_FORM: Final = {"type": "json_schema", "json_schema": {"name": "number", "schema": _OBJECT, "strict": True}}
_CALL: Final = ("toolu_1", "look", '{"n": 1}')


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of turn.

    Attributes:
        name: of its check.
        said: the conversation.
        reply: what the stand-in answers.
        answer: what the client must get: the text, or the arguments of the call.
        way: what the server must make of the conversation, as `x-claude-openai-conversation` tells it.
        fields: more of the request.
        path: of the API; the Responses API is given one text.
    """

    name: str
    said: tuple[Said, ...]
    reply: Reply
    answer: str
    way: str = "new"
    fields: Mapping[str, Any] = field(default_factory=dict)
    path: str = CHAT

    @property
    def body(self) -> bytes:
        if self.path == RESPONSES:
            given: dict[str, Any] = {"instructions": SYSTEM, "input": self.said[0][1]}
        else:
            given = {"messages": [{"role": "system", "content": SYSTEM}, *map(_message, self.said)]}
        return json.dumps({"model": MODEL, **given, **self.fields}).encode()


def _texts(*texts: str) -> tuple[Said, ...]:
    return tuple(("assistant" if n % 2 else "user", text) for n, text in enumerate(texts))


def _message(said: Said) -> dict[str, Any]:
    match said:
        case (role, str(text)):
            return {"role": role, "content": text}
        case (_, (ident, name, arguments)):
            call = {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case (_, (ident, text)):
            return {"role": "tool", "tool_call_id": ident, "content": text}
    raise ValueError(f"not a message: {said!r}")


_STREAM: Final = {"stream": True}
_RESULT: Final = (*_texts("look"), ("assistant", _CALL), ("user", (_CALL[0], "seen")))

START: Final = Kind("start", _texts("Are you there?"), Reply("Yes."), "Yes.")
_NEW: Final = Kind("new", _texts("one"), Reply("two"), "two")
_ON_BOTH_BACKENDS: Final = (
    Kind("history", _texts("a", "b", "c"), Reply("d"), "d", "replayed"),
    Kind("stream", _texts("count"), Reply(Text("1 ", "2")), "1 2", fields=_STREAM),
    Kind(
        "JSON schema",
        _texts("number"),
        Reply(ToolUse("toolu_2", "StructuredOutput", {"n": 2})),
        '{"n": 2}',
        fields={"response_format": _FORM},
    ),
    Kind("Responses", _texts("respond"), Reply(Text("a", "b")), "ab", fields=_STREAM, path=RESPONSES),
)
_ON_SDK: Final = (
    Kind("follow-up", _texts("one", "two", "three"), Reply("four"), "four", "continued"),
    Kind("edit", _texts("one", "two", "other"), Reply("five"), "five", "rewound"),
    Kind(
        "tool call",
        _texts("look"),
        Reply(ToolUse(_CALL[0], PREFIX + _CALL[1], {"n": 1})),
        '{"n": 1}',
        fields={"tools": [_TOOL], **_STREAM},
    ),
    Kind("tool result", _RESULT, Reply("It is."), "It is.", "parked", {"tools": [_TOOL], **_STREAM}),
)


def kinds(backend: str) -> tuple[Kind, ...]:
    """Those that a backend can run, in their order, after `START`."""
    return (_NEW, *_ON_SDK, *_ON_BOTH_BACKENDS) if backend == "sdk" else (_NEW, *_ON_BOTH_BACKENDS)


def said_to_claude(request: RecordedRequest) -> list[Said]:
    """All that a request says, block by block; of what is no conversation, the form in which it came."""
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
        case {"type": "tool_use", "id": ident, "name": name, "input": given}:
            return ident, name.removeprefix(PREFIX), json.dumps(given)
        case {"type": "tool_result", "tool_use_id": ident, "content": content}:
            return ident, content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return json.dumps(block)


def system_prompt(request: RecordedRequest) -> str:
    """The client's part of the system prompt."""
    return "\n".join(request.system_text.splitlines()[_OWN_SYSTEM_BLOCKS:])


def answer_in(body: bytes, *, stream: bool) -> str:
    """The text of an answer, or the arguments of its call; of either API where it streams.

    Raises:
        ValueError: it is not one, or an error.
    """
    try:
        if not stream:
            return str(json.loads(body)["choices"][0]["message"]["content"])
        lines = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: {")]
        return "".join(part for line in lines for part in _parts(json.loads(line)))
    except (LookupError, TypeError) as error:
        raise ValueError(f"no answer: {body[:200]!r}") from error


def _parts(event: Mapping[str, Any]) -> Iterator[str]:
    if event.get("type") == "response.output_text.delta":
        yield event["delta"]
    if "error" in event:
        raise ValueError(event["error"]["message"])
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        yield delta.get("content") or ""
        for call in delta.get("tool_calls", ()):
            yield call["function"].get("arguments", "")
