"""A client that costs as little as it can: one blocking socket, bytes counted and not parsed."""

import json
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Timing:
    """Seconds from the request to the first text delta and to the end, and the text deltas."""

    first_s: float
    total_s: float
    deltas: int


def stream(url: str, prompt: str, *, path: str = "/v1/chat/completions", history: int = 0) -> Timing:
    """Stream one completion.

    Args:
        url: base URL.
        prompt: the user's message.
        path: for servers with another one.
        history: turns to send before the prompt.
    """
    parts = urlsplit(url)
    messages = [{"role": role, "content": "before"} for _ in range(history) for role in ("user", "assistant")]
    body = json.dumps(
        {"model": "claude", "stream": True, "messages": [*messages, {"role": "user", "content": prompt}]}
    ).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    started = time.perf_counter()
    first, deltas, tail = 0.0, 0, b""
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.sendall(head.encode() + body)
        while data := connection.recv(READ_BYTES):
            seen = tail + data
            found = seen.count(b'"delta":{"content":')
            if found and not first:
                first = time.perf_counter() - started
            deltas += found
            tail = b"" if found and seen.endswith(b"\n") else seen[-18:]
            if b"data: [DONE]" in seen[-200:]:
                break
    return Timing(first, time.perf_counter() - started, deltas)
