"""A client that costs as little as it can: one blocking socket, bytes counted and not parsed."""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

READ_BYTES = 1 << 20
CHAT_MARKS = (b'"delta":{"content":', b'"delta":{"tool_calls":')


@dataclass(frozen=True)
class Timing:
    """Seconds from the request to the first delta and to the end, the deltas, and the id of a tool call."""

    first_s: float
    total_s: float
    deltas: int
    call_id: str


def stream(
    url: str,
    prompt: str,
    *,
    path: str = "/v1/chat/completions",
    history: Sequence[dict[str, Any]] = (),
    results: Sequence[dict[str, Any]] = (),
    tools: Sequence[dict[str, Any]] = (),
) -> Timing:
    """Stream one completion.

    Args:
        url: base URL.
        prompt: the user's message.
        path: for servers with another one.
        history: messages before the prompt.
        results: messages after it.
        tools: what Claude is offered.
    """
    messages = [*history, {"role": "user", "content": prompt}, *results]
    return streamed(url, path, {"messages": messages, "tools": list(tools)}, *CHAT_MARKS)


def streamed(url: str, path: str, fields: dict[str, Any], *marks: bytes, session: str = "") -> Timing:
    """Stream one answer of any API.

    Args:
        url: base URL.
        path: of the API.
        fields: of the request, without the model.
        marks: each is in the frame of a delta once.
        session: by which a load balancer picks a server.
    """
    parts = urlsplit(url)
    body = json.dumps({"model": "claude", "stream": True, **fields}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Session-Affinity: {session}\r\nConnection: close\r\n\r\n"
    )
    started = time.perf_counter()
    first, deltas, tail, call_id = 0.0, 0, b"", ""
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.sendall(head.encode() + body)
        while data := connection.recv(READ_BYTES):
            seen = tail + data
            found = sum(map(seen.count, marks))
            if found and not first:
                first = time.perf_counter() - started
            deltas += found
            if b'"tool_calls":[{"id":"' in seen:
                call_id = seen.split(b'"tool_calls":[{"id":"')[1].split(b'"')[0].decode()
            tail = b"" if seen.endswith(b"\n") else seen[1 - len(marks[0]) :]
            if b"data: [DONE]" in seen[-200:]:
                break
    return Timing(first, time.perf_counter() - started, deltas, call_id)
