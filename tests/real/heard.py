"""What Claude heard, and what a request says that it should have heard, in one form, so that the two can be compared.

`heard` reads what the stand-in was sent, `meant` reads the chat request of a client; neither knows the server's own
reading of it. A turn is all messages of one side between two of the other. Every text between the two that is not the
client's is named here: Claude Code's own, and the server's, which demands a call.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import dropwhile, groupby, takewhile
from typing import Any, Final, TypeAlias

from claude_openai.protocol.claude_code.call_policies import MUST_CALL
from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT
from claude_openai.testing import RecordedRequest

__all__ = [
    "PREFIX",
    "Heard",
    "Message",
    "blocks",
    "form_of",
    "heard",
    "is_of_system",
    "is_statement_of_effort",
    "meant",
    "must_call",
    "offered",
    "sent",
    "split_url",
    "system_prompt",
    "turns_of",
]

Block: TypeAlias = tuple[Any, ...]
Message: TypeAlias = tuple[str, tuple[Block, ...]]

# What Claude Code sends for an empty result.
NO_OUTPUT: Final = re.compile(r"\(mcp__openai__[\w-]+ completed with no output\)")
# Claude Code's own blocks in `system`.
OWN_SYSTEM: Final = (
    re.compile(r"x-anthropic-billing-header: [\w.=; -]*"),
    re.compile(r"You are a Claude agent, built on Anthropic's Claude Agent SDK\."),
)
PREFIX: Final = "mcp__openai__"
LONG, LONG_BETA = "[1m]", "context-1m"


@dataclass(frozen=True, slots=True)
class Heard:
    """A whole request. `effort` and `max_tokens` are None where they are the model's own, `form` for plain text."""

    model: str
    system: tuple[str, ...]
    tools: tuple[str, ...]
    turns: tuple[Message, ...]
    max_tokens: int | None
    effort: str | None
    form: str | None = None


def heard(request: RecordedRequest, *, bounds: Iterable[int], efforts: Iterable[str] = ()) -> Heard:
    """What the stand-in was sent, without Claude Code's own two lines of the system prompt.

    Args:
        request: as it came.
        bounds: the values of `max_tokens` that clients ask for; another is the model's own.
        efforts: the values of `effort` that clients ask for.
    """
    body = request.body
    messages = [message for message in request.messages if not is_statement_of_effort(message)]
    assert {message["role"] for message in messages} <= {"user", "assistant"}, request.messages
    schemas = {tool["name"]: tool["input_schema"] for tool in body.get("tools", ())}
    tools = [
        _tool(tool["name"], tool["description"], tool["input_schema"])
        for tool in body.get("tools", ())
        if tool["name"] != STRUCTURED_OUTPUT
    ]
    effort = body.get("output_config", {}).get("effort")
    return Heard(
        model=request.model.split("-")[1] + LONG * (LONG_BETA in request.headers.get("anthropic-beta", "")),
        system=tuple(text for text in _texts(body.get("system", [])) if not _is_one_of(OWN_SYSTEM, text)),
        tools=tuple(sorted(tools)),
        turns=_joined((m["role"], map(_sent_block, _without_thoughts(m))) for m in messages),
        max_tokens=body["max_tokens"] if body["max_tokens"] in bounds else None,
        effort=effort if effort in efforts else None,
        form=_schema(schemas.get(STRUCTURED_OUTPUT)),
    )


def is_statement_of_effort(message: Mapping[str, Any]) -> bool:
    """Whether a message says nothing but the effort of the request once more, as Claude Code has it for some models."""
    return message["role"] == "system" and message["content"] == [] and "output_config" in message


def meant(body: Mapping[str, Any]) -> Heard:
    """What a chat request says that Claude is to hear."""
    system = [message["content"] for message in takewhile(is_of_system, body["messages"])]
    return Heard(
        model=body["model"].split("-")[1] + LONG * body["model"].endswith(LONG),
        system=(*(["\n\n".join(system)] if system else []), *([MUST_CALL] if must_call(body) else [])),
        tools=tuple(sorted(offered(body))),
        turns=turns_of(body["messages"]),
        max_tokens=body.get("max_completion_tokens"),
        effort=body.get("reasoning_effort"),
        form=_schema(form_of(body)),
    )


def is_of_system(message: Mapping[str, Any]) -> bool:
    return message["role"] in ("system", "developer")


def form_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON Schema of the answer that a chat request demands; a call that it demands comes before."""
    form = body.get("response_format")
    return None if form is None or must_call(body) else form["json_schema"]["schema"]


def must_call(body: Mapping[str, Any]) -> bool:
    """Whether a chat request demands a call."""
    return body.get("tool_choice", "auto") not in ("auto", "none")


def offered(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The tools that a chat request offers, in its order."""
    choice = body.get("tool_choice", "auto")
    functions = [tool["function"] for tool in body.get("tools", ()) if choice != "none"]
    only = choice["function"]["name"] if isinstance(choice, dict) else None
    return tuple(_function(function) for function in functions if only in (None, function["name"]))


def turns_of(messages: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The turns that messages of a chat stand for, without the system prompt."""
    said = []
    for side, group in groupby(dropwhile(is_of_system, messages), key=_side):
        turn = list(group)
        are_all_of_system = all(map(is_of_system, turn))
        for message in turn:
            is_reminder = is_of_system(message) and not are_all_of_system
            said.append((side, [_reminder(message["content"])] if is_reminder else _said(message)))
    return _joined(said)


def _joined(said: Iterable[tuple[str, Iterable[Block]]]) -> tuple[Message, ...]:
    turns = []
    for role, group in groupby(said, key=lambda pair: pair[0]):
        blocks = [block for _, part in group for block in part]
        # Results have ids, so their order means nothing.
        results = sorted(block for block in blocks if block[0] == "result")
        turns.append((role, (*results, *(block for block in blocks if block[0] != "result"))))
    return tuple(turns)


def _side(message: Mapping[str, Any]) -> str:
    return "assistant" if message["role"] == "assistant" else "user"


def _reminder(text: str) -> Block:
    """A message of the system within the user's turn."""
    return ("text", f"<system-reminder>\n{text}\n</system-reminder>")


def _said(message: Mapping[str, Any]) -> Iterator[Block]:
    parts = tuple(_part(part) for part in _blocks(message["content"] or []))
    if message["role"] == "tool":
        is_nothing = all(kind == "text" and not text.strip() for kind, text, *_ in parts)
        yield ("result", message["tool_call_id"], () if is_nothing else parts)
        return
    yield from parts
    for call in message.get("tool_calls", ()):
        function = call["function"]
        yield _call(call["id"], PREFIX + function["name"], json.loads(function["arguments"]))


def _part(part: Mapping[str, Any]) -> Block:
    if part["type"] == "text":
        return ("text", part["text"])
    if part["type"] == "file":
        kind, data = split_url(part["file"]["file_data"])
        return _document(part["file"]["filename"], kind, base64.b64decode(data))
    return _picture(*split_url(part["image_url"]["url"]))


def split_url(url: str) -> tuple[str, str]:
    """The media type and the base64 of a `data:` URL."""
    head, _, data = url.partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), data


def _without_thoughts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocks of a message but for Claude's own thoughts, which no request brings; they go in front."""
    blocks = _blocks(message["content"])
    said = [block for block in blocks if block["type"] != "thinking"]
    assert message["role"] == "assistant" or said == blocks
    return said


def _sent_block(block: Mapping[str, Any]) -> Block:
    match block["type"]:
        case "text":
            return ("text", block["text"])
        case "image":
            return _picture(block["source"]["media_type"], block["source"]["data"])
        case "document":
            source = block["source"]
            raw = source["data"].encode() if source["type"] == "text" else base64.b64decode(source["data"])
            return _document(block.get("title", ""), source["media_type"], raw)
        case "tool_use":
            return _call(block["id"], block["name"], block["input"])
        case "tool_result":
            assert not block.get("is_error"), block
            parts = tuple(map(_sent_block, _blocks(block["content"])))
            is_nothing = len(parts) == 1 and parts[0][0] == "text" and NO_OUTPUT.fullmatch(parts[0][1])
            return ("result", block["tool_use_id"], () if is_nothing else parts)
    raise AssertionError(block)


def _call(call: str, name: str, arguments: Mapping[str, Any]) -> Block:
    return ("call", call, name, json.dumps(arguments, sort_keys=True))


def _picture(kind: str, data: str) -> Block:
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raw = data.encode()
    return ("picture", kind, sha256(raw).hexdigest()[:8])


def _document(name: str, kind: str, raw: bytes) -> Block:
    return ("document", name, kind, sha256(raw).hexdigest()[:8])


def _function(function: Mapping[str, Any]) -> str:
    schema = function.get("parameters", {"type": "object", "properties": {}})
    return _tool(PREFIX + function["name"], function.get("description", ""), schema)


def _schema(schema: Mapping[str, Any] | None) -> str | None:
    return None if schema is None else json.dumps(schema, sort_keys=True)


def _tool(name: str, description: str, schema: Mapping[str, Any]) -> str:
    return json.dumps([name, description, schema], sort_keys=True)


def _blocks(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def _texts(content: str | Sequence[Mapping[str, Any]]) -> list[str]:
    return [block["text"] for block in _blocks(content)]


def _is_one_of(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in patterns)


def blocks(content: str | Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    if isinstance(content, str):
        return [("text", content)]
    return [(block["type"], block.get("text") or block.get("id") or block["tool_use_id"]) for block in content]


def sent(request: RecordedRequest) -> list[tuple[str, list[tuple[str, str]]]]:
    """All messages of a request that say something; those of one role that follow each other are one."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for message in request.messages:
        if is_statement_of_effort(message):
            continue
        if not found or found[-1][0] != message["role"]:
            found.append((message["role"], []))
        found[-1][1].extend(blocks(message["content"]))
    return found


def system_prompt(request: RecordedRequest) -> list[str]:
    """The system prompt without what the CLI puts first: its bookkeeping, and a line that names the SDK."""
    bookkeeping, sdk, *rest = (block["text"] for block in request.body["system"])
    assert bookkeeping.startswith("x-anthropic-billing-header: ")
    assert sdk == "You are a Claude agent, built on Anthropic's Claude Agent SDK."
    return rest
