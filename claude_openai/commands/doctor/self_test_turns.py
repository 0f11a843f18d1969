"""The turns of `--self-test`: the request of a client, the reply of the stand-in, and the answer that is expected.

Also the functions that read the answer, and the request that Claude Code made.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import Reply, Text, ToolUse

__all__ = ["START", "Kind", "Said", "answer_in", "kinds", "said_to_claude", "system_prompt"]

# A role and a block: a text, a call (id, name, arguments as JSON), or a result (id of the call, text).
Said: TypeAlias = tuple[str, str | tuple[str, ...]]

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
MODEL: Final = "claude"
SYSTEM: Final = "You are a test."
PREFIX: Final = "mcp__openai__"
# Claude Code's own blocks come before those of the client.
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
        name: the name of its check.
        said: the conversation.
        reply: the reply of the stand-in.
        answer: the answer that the client must get: a text, or the arguments of a call.
        way: the route that the server must take: the value of `x-claude-openai-conversation`.
        fields: more fields of the request.
        path: the path of the API; a request to the Responses API has one text.
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
            conversation: dict[str, Any] = {"instructions": SYSTEM, "input": self.said[0][1]}
        else:
            conversation = {"messages": [{"role": "system", "content": SYSTEM}, *map(_message, self.said)]}
        return json.dumps({"model": MODEL, **conversation, **self.fields}).encode()


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
    raise ValueError(f"invalid message: {said!r}; expected a text, a call or a result")


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
        Reply(ToolUse("StructuredOutput", {"n": 2}, "toolu_2")),
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
        Reply(ToolUse(PREFIX + _CALL[1], {"n": 1}, _CALL[0])),
        '{"n": 1}',
        fields={"tools": [_TOOL], **_STREAM},
    ),
    Kind("tool result", _RESULT, Reply("It is."), "It is.", "parked", {"tools": [_TOOL], **_STREAM}),
)


def kinds(backend: str) -> tuple[Kind, ...]:
    """Return the turns that a backend can run, in order. They run after `START`."""
    return (_NEW, *_ON_SDK, *_ON_BOTH_BACKENDS) if backend == "sdk" else (_NEW, *_ON_BOTH_BACKENDS)


def said_to_claude(request: RecordedRequest) -> list[Said]:
    """Return all blocks of a request's messages. A block that is not a text, call or result is returned as JSON."""
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
    return json.dumps(block)


def system_prompt(request: RecordedRequest) -> str:
    """Return the client's part of the system prompt."""
    return "\n".join(request.system_text.splitlines()[_OWN_SYSTEM_BLOCKS:])


def answer_in(body: bytes, *, stream: bool) -> str:
    """Return the text of an answer, or the arguments of its call.

    Args:
        body: of a chat completion; of either API if it is a stream.
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
    if "error" in event:
        raise ValueError(event["error"]["message"])
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        yield delta.get("content") or ""
        for call in delta.get("tool_calls", ()):
            yield call["function"].get("arguments", "")
