"""Encodes a script's answer like the Messages API: response heads, SSE events, a JSON body.

`render()` turns an answer into a flat sequence of actions: a `Head`, bytes of the body, or a wait. `connection.py`
carries them out. Rendering is lazy, so an answer of 100,000 deltas takes no more memory than its text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from claude_openai.standin.script import (
    Answer,
    Block,
    Garbage,
    HttpError,
    Interruption,
    Json,
    Piece,
    Reply,
    Text,
    Thinking,
    ToolUse,
    UpstreamErrorEvent,
    Usage,
    Verbatim,
    Wait,
)

STATUS_OF_ERROR_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and headers; without a `content-length` the body ends when the answer does."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerIdentity:
    """The ids of an answer.

    Attributes:
        model: the requested model.
        message_id: like `msg_01`; to the CLI messages with the same id are one message.
        request_id: like `req_01`.
    """

    model: str
    message_id: str
    request_id: str


Item: TypeAlias = Head | bytes | Wait


def render(answer: Answer, identity: AnswerIdentity, *, stream: bool) -> Iterator[Item]:
    """Yield the actions for `answer`, in order: waits, one `Head`, then bytes and waits."""
    if isinstance(answer, HttpError):
        yield from _refusal(answer, identity)
    elif stream:
        yield from answer.before_headers
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        yield Head(200, {**headers, "request-id": identity.request_id, **answer.headers})
        yield from _events(answer, identity)
    else:
        yield from answer.before_headers
        yield from _whole(answer, identity)


def render_json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Iterator[Item]:
    """Yield the actions of a complete JSON response."""
    yield from _response(json.dumps(body).encode(), status, headers or {})


def _refusal(error: HttpError, identity: AnswerIdentity) -> Iterator[Item]:
    yield from error.before_headers
    headers = {"request-id": identity.request_id, **error.headers}
    yield from render_json(_error_body(error, identity), status=error.status, headers=headers)


def _response(body: bytes, status: int, headers: Mapping[str, str]) -> Iterator[Item]:
    yield Head(status, {"content-type": "application/json", "content-length": str(len(body)), **headers})
    yield body


def _error_body(error: HttpError | UpstreamErrorEvent, identity: AnswerIdentity) -> dict[str, Any]:
    body = {"type": error.type, "message": error.message}
    return {"type": "error", "error": body, "request_id": identity.request_id}


def _events(reply: Reply, identity: AnswerIdentity) -> Iterator[bytes | Wait]:
    """Yield the SSE events of a streamed message; an error event ends it immediately."""
    so_far = replace(reply.usage, output_tokens=1, thinking_tokens=0)
    opening = _message(reply, identity, [], None, _usage(so_far))
    yield _event({"type": "message_start", "message": opening})
    yield _event({"type": "ping"})
    for piece in _message_events(reply, identity):
        if isinstance(piece, UpstreamErrorEvent):
            yield _event(_error_body(piece, identity))
            return
        yield piece.data if isinstance(piece, Garbage) else piece


def _message_events(reply: Reply, identity: AnswerIdentity) -> Iterator[bytes | Interruption]:
    """Yield the events after the opening: blocks and end, with their interruptions."""
    index = 0
    for step in reply.steps:
        yield from _block_events(step, index, identity)
        if isinstance(step, Block):
            index += 1
    delta = {"stop_reason": reply.stop_reason, "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": delta, "usage": _usage(reply.usage)})
    yield from reply.before_stop
    yield _event({"type": "message_stop"})


def _block_events(step: Block | Interruption, index: int, identity: AnswerIdentity) -> Iterator[bytes | Interruption]:
    """Yield the events of one block, with their interruptions; an interruption between blocks is passed on."""
    block: dict[str, Any]
    if isinstance(step, Verbatim):
        yield _event({"type": "content_block_start", "index": index, "content_block": dict(step.block)})
        yield _event({"type": "content_block_stop", "index": index})
        return
    if isinstance(step, Text | Json):
        block, delta, key = {"type": "text", "text": ""}, "text_delta", "text"
    elif isinstance(step, Thinking):
        block, delta, key = {"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"
    elif isinstance(step, ToolUse):
        block = {"type": "tool_use", "id": _call_id(step, index, identity), "name": step.name, "input": {}}
        delta, key = "input_json_delta", "partial_json"
    else:
        yield step
        return
    yield _event({"type": "content_block_start", "index": index, "content_block": block})
    # Benchmarks stream 100,000 deltas, so only the text is encoded for each. JSON's ASCII escapes also let a script
    # send half a surrogate pair.
    before = _event({"type": "content_block_delta", "index": index, "delta": {"type": delta, key: ""}})
    before, after = before[: -len(b'""}}\n\n')], b"}}\n\n"
    for piece in _pieces(step):
        yield before + json.dumps(piece).encode() + after if isinstance(piece, str) else piece
    if isinstance(step, Thinking) and step.signature:
        signature = {"type": "signature_delta", "signature": step.signature}
        yield _event({"type": "content_block_delta", "index": index, "delta": signature})
    yield _event({"type": "content_block_stop", "index": index})


def _whole(reply: Reply, identity: AnswerIdentity) -> Iterator[Item]:
    """Yield the actions of a message that is not streamed: first the waits, then garbage, then the JSON."""
    garbage = b""
    for step in reply.steps:
        for piece in _pieces(step):
            if isinstance(piece, UpstreamErrorEvent):
                status = STATUS_OF_ERROR_TYPE.get(piece.type, 500)
                yield from _refusal(HttpError(status, piece.type, piece.message), identity)
                return
            if isinstance(piece, Garbage):
                garbage += piece.data
            elif not isinstance(piece, str):
                yield piece
    blocks = [step for step in reply.steps if isinstance(step, Block)]
    content = [_content(block, index, identity) for index, block in enumerate(blocks)]
    body = _message(reply, identity, content, reply.stop_reason, _usage(reply.usage))
    headers = {"request-id": identity.request_id, **reply.headers}
    yield from _response(garbage + json.dumps(body).encode(), 200, headers)


def _pieces(step: Block | Interruption) -> Sequence[Piece]:
    if isinstance(step, Text | Thinking):
        return step.pieces
    if isinstance(step, ToolUse):
        return step.fragments or (json.dumps(dict(step.input)),)
    if isinstance(step, Verbatim):
        return ()
    return (json.dumps(step.value),) if isinstance(step, Json) else (step,)


def _call_id(call: ToolUse, index: int, identity: AnswerIdentity) -> str:
    return f"toolu_{identity.message_id.removeprefix('msg_')}_{index}" if call.id is None else call.id


def _content(block: Block, index: int, identity: AnswerIdentity) -> dict[str, Any]:
    """Return a content block of a complete message."""
    if isinstance(block, ToolUse):
        return {
            "type": "tool_use",
            "id": _call_id(block, index, identity),
            "name": block.name,
            "input": dict(block.input),
        }
    if isinstance(block, Verbatim):
        return dict(block.block)
    text = "".join(piece for piece in _pieces(block) if isinstance(piece, str))
    if isinstance(block, Thinking):
        return {"type": "thinking", "thinking": text, "signature": block.signature}
    return {"type": "text", "text": text}


def _message(
    reply: Reply,
    identity: AnswerIdentity,
    content: list[dict[str, Any]],
    stop_reason: str | None,
    usage: dict[str, Any],
) -> dict[str, Any]:
    return {
        "id": identity.message_id,
        "type": "message",
        "role": "assistant",
        "model": reply.model or identity.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = asdict(usage)
    thinking_tokens, searches = counts.pop("thinking_tokens"), counts.pop("web_search_requests")
    if searches:
        counts["server_tool_use"] = {"web_search_requests": searches}
    if thinking_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": thinking_tokens}
    return counts


def _event(body: Mapping[str, Any]) -> bytes:
    return f"event: {body['type']}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n".encode()
