"""The turns of `--self-test`: the request of a client, the reply of the stand-in, and the answer that is expected."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from claude_openai.protocol.wire.turns import reminder
from claude_openai.standin.script import Reply, Text, ToolUse

__all__ = ["PREFIX", "START", "SYSTEM", "Kind", "Said", "kinds"]

# A role and a block: a text, a call (id, name, arguments as JSON), a result (id of the call, text), or a picture (its
# `data:` URL).
Said: TypeAlias = tuple[str, str | tuple[str, ...]]

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
MODEL: Final = "claude"
SYSTEM: Final = "You are a test."
PREFIX: Final = "mcp__openai__"

_OBJECT: Final = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
_TOOL: Final = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": _OBJECT}}
_FORM: Final = {"type": "json_schema", "json_schema": {"name": "number", "schema": _OBJECT, "strict": True}}
# One black dot.
_PNG: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)


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
        path: the path of the API; only a request for a chat completion has more than texts.
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
        messages = _messages(self.said)
        if self.path == RESPONSES:
            conversation: dict[str, Any] = {"instructions": SYSTEM, "input": messages}
        elif self.path == MESSAGES:
            conversation = {"system": SYSTEM, "messages": messages}
        else:
            conversation = {"messages": [{"role": "system", "content": SYSTEM}, *messages]}
        return json.dumps({"model": MODEL, **conversation, **self.fields}).encode()

    @property
    def sent(self) -> list[Said]:
        """The conversation as Claude must get it."""
        return [
            ("user", reminder(said).text) if role == "system" and isinstance(said, str) else (role, said)
            for role, said in self.said
        ]


def _texts(*texts: str) -> tuple[Said, ...]:
    return tuple(("assistant" if n % 2 else "user", text) for n, text in enumerate(texts))


def _messages(conversation: Iterable[Said]) -> list[dict[str, Any]]:
    """Return the messages of a chat; calls that follow each other are of one message."""
    found: list[dict[str, Any]] = []
    for said in conversation:
        message = _message(said)
        if found and "tool_calls" in message and "tool_calls" in found[-1]:
            found[-1]["tool_calls"] += message["tool_calls"]
        else:
            found.append(message)
    return found


def _message(said: Said) -> dict[str, Any]:
    match said:
        case (role, str(text)):
            return {"role": role, "content": text}
        case (_, (ident, name, arguments)):
            call = {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case (_, (ident, text)):
            return {"role": "tool", "tool_call_id": ident, "content": text}
        case (role, (url,)):
            return {"role": role, "content": [{"type": "image_url", "image_url": {"url": url}}]}
    raise ValueError(f"invalid message: {said!r}; expected a text, a call, a result or a picture")


def _arguments(n: int) -> str:
    return json.dumps({"n": n})


def _call(n: int) -> Said:
    return "assistant", (f"toolu_{n}", "look", _arguments(n))


def _result(n: int, text: str) -> Said:
    return "user", (f"toolu_{n}", text)


def _calling(*numbers: int) -> Reply:
    return Reply(*(ToolUse(f"{PREFIX}look", {"n": n}, f"toolu_{n}") for n in numbers))


_STREAM: Final = {"stream": True}
_TOOLS: Final = {"tools": [_TOOL], **_STREAM}
# Each of these conversations goes on with the turns of the next.
_CALLED: Final = (*_texts("look"), _call(1), _result(1, "seen"))
_ASKED_TWICE: Final = (*_CALLED, ("assistant", "It is."), ("user", "look twice"))
_CALLED_TWICE: Final = (*_ASKED_TWICE, _call(2), _call(3), _result(2, "left"), _result(3, "right"))
_LEFT: Final = (*_CALLED_TWICE, ("assistant", "Both."), ("user", "I am back."))
_COUNTED: Final = _texts("count", "1 2", "go on")
_COUNTED_ON: Final = _texts("count", "1 2", "go on", "3", "and on")
_PICTURED: Final = (*_COUNTED_ON, ("assistant", "45"), ("user", (_PNG,)), ("user", "What is this?"))
_REMINDED: Final = (*_PICTURED, ("assistant", "A dot."), ("system", "Be brief."), ("user", "Thanks."))

START: Final = Kind("start", _texts("Are you there?"), Reply("Yes."), "Yes.")
_NEW: Final = Kind("new", _texts("one"), Reply("two"), "two")
_ON_SDK: Final = (
    Kind("follow-up", _texts("one", "two", "three"), Reply("four"), "four", "continued"),
    Kind("edit", _texts("one", "two", "other"), Reply("five"), "five", "rewound"),
    Kind("tool call", _texts("look"), _calling(1), _arguments(1), fields=_TOOLS),
    Kind("tool result", _CALLED, Reply("It is."), "It is.", "parked", _TOOLS),
    Kind("parallel calls", _ASKED_TWICE, _calling(2, 3), _arguments(2) + _arguments(3), "continued", _TOOLS),
    Kind("parallel results", _CALLED_TWICE, Reply("Both."), "Both.", "parked", _TOOLS),
    Kind(
        "result and text",
        (*_texts("look first"), _call(4), _result(4, "seen"), ("user", "And now?")),
        Reply("Now."),
        "Now.",
        "replayed",
        _TOOLS,
    ),
)
_ON_BOTH_BACKENDS: Final = (
    Kind("history", _texts("a", "b", "c"), Reply("d"), "d", "replayed"),
    Kind("stream", _texts("count"), Reply(Text("1 ", "2")), "1 2", fields=_STREAM),
    Kind("Messages", _COUNTED, Reply("3"), "3", "continued", {"max_tokens": 1000, **_STREAM}, MESSAGES),
    Kind("Responses", _COUNTED_ON, Reply(Text("4", "5")), "45", "continued", _STREAM, RESPONSES),
    Kind("picture", _PICTURED, Reply("A dot."), "A dot.", "continued"),
    Kind("system message", _REMINDED, Reply("Yes."), "Yes.", "continued"),
    Kind(
        "JSON schema",
        _texts("number"),
        Reply(ToolUse("StructuredOutput", {"n": 2}, "toolu_2")),
        '{"n": 2}',
        fields={"response_format": _FORM},
    ),
)
# The server has ended its process, because it keeps only the last conversation open.
_RETURN: Final = Kind("return", _LEFT, Reply("Welcome."), "Welcome.", "replayed", _TOOLS)


def kinds(backend: str) -> tuple[Kind, ...]:
    """Return the turns that a backend can run, in order. They run after `START`."""
    if backend == "sdk":
        return _NEW, *_ON_SDK, *_ON_BOTH_BACKENDS, _RETURN
    # The CLI backend keeps no conversation open.
    return _NEW, *(replace(kind, way=kind.way.replace("continued", "replayed")) for kind in _ON_BOTH_BACKENDS)
