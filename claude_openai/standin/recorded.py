"""A request that the stand-in received, and the state of its answer.

The texts of the request are found in any form that the Messages API accepts. Invalid requests are recorded too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import trio

__all__ = ["RecordedRequest"]


@dataclass(eq=False, slots=True)
class RecordedRequest:
    """One HTTP request, complete.

    The three events are set once the kernel has the last byte, and a client may see the end a moment earlier: await
    them instead of reading them.

    Attributes:
        method: the HTTP method.
        path: without the query.
        query: the part after `?`, or "".
        headers: names in lower case; values of repeated names are joined with `, `.
        raw: the body as bytes.
        body: the body as a JSON object; empty when it is not one.
        finished: set when the whole answer was sent.
        disconnected: set when the client left before that.
        ended: set when no more is sent: after one of the two above, a `Cut`, or the end of the stand-in.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any] = field(init=False)
    finished: trio.Event = field(default_factory=trio.Event, init=False)
    disconnected: trio.Event = field(default_factory=trio.Event, init=False)
    ended: trio.Event = field(default_factory=trio.Event, init=False)

    def __post_init__(self) -> None:
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError):  # ValueError: not JSON, or not UTF-8
            body = None
        self.body = body if isinstance(body, dict) else {}

    def __repr__(self) -> str:
        ends = ("finished", self.finished), ("disconnected", self.disconnected), ("ended", self.ended)
        state = next((name for name, event in ends if event.is_set()), "in flight")
        return f"<RecordedRequest {self.method} {self.path} {self.model} {len(self.raw)} bytes, {state}>"

    @property
    def is_message(self) -> bool:
        """Whether it is a request for a message, the only kind that scripts answer."""
        return self.method == "POST" and self.path == "/v1/messages"

    @property
    def model(self) -> str:
        """The requested model, or ""."""
        model = self.body.get("model")
        return model if isinstance(model, str) else ""

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for message in _list(self.body.get("messages")) if isinstance(message, dict)]

    @property
    def system_text(self) -> str:
        """All text of `system`, one line per block."""
        return "\n".join(_texts(self.body.get("system")))

    @property
    def last_user_text(self) -> str:
        """All text of the last user message, one line per block, without tool results."""
        users = [message for message in self.messages if message.get("role") == "user"]
        return "\n".join(_texts(users[-1].get("content"))) if users else ""

    @property
    def tools(self) -> list[str]:
        """The names of the tools of the request, in order."""
        return [str(tool.get("name")) for tool in _list(self.body.get("tools")) if isinstance(tool, dict)]

    @property
    def prompt_words(self) -> int:
        """The number of words in `system` and all messages: a deterministic token count."""
        texts = [self.system_text, *(text for message in self.messages for text in _texts(message.get("content")))]
        return sum(len(text.split()) for text in texts)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(content: Any) -> Iterator[str]:
    """Yield the texts of a `system` or `content`, which is a string or a list of blocks."""
    if isinstance(content, str):
        yield content
    for block in _list(content):
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]
