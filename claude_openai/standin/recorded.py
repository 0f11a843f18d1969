"""A request as the stand-in received it, and what became of its answer.

This module knows the shape of a Messages API request well enough to find the texts in it, whatever form they were
sent in. It knows nothing of sockets, and does not judge: a request that makes no sense is recorded all the same.
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

    The three events are set once the last byte is with the kernel, and a client may see the end a moment earlier: await
    them rather than ask.

    Attributes:
        method: the HTTP method.
        path: without the query.
        query: what stood after the `?`, or nothing.
        headers: names in lower case; a name that came twice has its values joined with `, `.
        raw: the body as bytes.
        body: the body as a JSON object; empty when it is not one.
        finished: set when the whole answer was sent.
        disconnected: set when the client went away before that.
        ended: set when nothing more will be sent: after one of the two above, a `Cut`, or the end of the stand-in.
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
        """Whether it asks for a message: the one kind of request that a script answers."""
        return self.method == "POST" and self.path == "/v1/messages"

    @property
    def model(self) -> str:
        """The model that was asked for, or nothing."""
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
        """All text of `system`, one block a line."""
        return "\n".join(_texts(self.body.get("system")))

    @property
    def last_user_text(self) -> str:
        """All text of the last message of the user, one block a line; tool results are not counted as text."""
        users = [message for message in self.messages if message.get("role") == "user"]
        return "\n".join(_texts(users[-1].get("content"))) if users else ""

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were offered, in order."""
        return [str(tool.get("name")) for tool in _list(self.body.get("tools")) if isinstance(tool, dict)]

    @property
    def prompt_words(self) -> int:
        """Words in `system` and all messages: the stand-in's idea of a token count, the same on every run."""
        texts = [self.system_text, *(text for message in self.messages for text in _texts(message.get("content")))]
        return sum(len(text.split()) for text in texts)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(content: Any) -> Iterator[str]:
    """The texts of a `system` or `content`, which is a string or a list of blocks."""
    if isinstance(content, str):
        yield content
    for block in _list(content):
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]
