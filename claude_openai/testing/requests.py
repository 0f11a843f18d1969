"""The requests that a fake received, in the terms of the client's API, and what became of each."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import trio

from claude_openai.testing.answered_text import answered_text

__all__ = ["FakeRequest", "Outcome"]

# running: not ended yet. completed: the whole answer was sent. failed: the turn failed, and the client got an error.
# cancelled: the client left before the end. refused: the server refused the request; no answer of the script was used.
Outcome: TypeAlias = Literal["running", "completed", "failed", "cancelled", "refused"]

OTHER_LOOP: Final = (
    "the `ended` of a request can be awaited only in the trio loop of its fake_claude; with running_fake_claude use "
    "`claude.wait_for_end(request)`, which blocks its thread"
)

_SYSTEM: Final = ("system", "developer")
_RESULTS: Final[Mapping[str, tuple[str, str]]] = {
    "function_call_output": ("call_id", "output"),
    "custom_tool_call_output": ("call_id", "output"),
    "tool": ("tool_call_id", "content"),
    "function": ("name", "content"),
    "tool_result": ("tool_use_id", "content"),
}
_CALLS: Final = ("function_call", "custom_tool_call")


class Ended:
    """An event of the trio loop of a fake; other threads may only read it."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._loop = _current_loop()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._event.is_set()

    def set(self) -> None:
        """Set it; for the fake only."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it is set.

        Raises:
            RuntimeError: this is another loop than the fake's, such as asyncio's.
        """
        if _current_loop() is not self._loop:
            raise RuntimeError(OTHER_LOOP)
        await self._event.wait()


@dataclass(eq=False)
class FakeRequest:
    """One HTTP request, as the client sent it.

    Attributes:
        number: counted from 1, in the order of arrival.
        method: the HTTP method.
        path: without the query.
        headers: names in lower case; values of repeated names are joined with `, `.
        raw: the body as bytes.
        status: the HTTP status of the answer; None before it has one.
        outcome: see `Outcome`.
        ended: set when the request is over and nothing of its turn is left.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes = b""
    status: int | None = None
    outcome: Outcome = "running"
    ended: Ended = field(default_factory=Ended)
    answer_bytes: bytearray = field(default_factory=bytearray, repr=False)

    def __repr__(self) -> str:
        return f"<request {self.number}: {self.method} {self.path} {self.prompt[:60]!r}, {self.outcome}>"

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is not one."""
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError):  # ValueError: not JSON, or not UTF-8
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The `messages` of a chat request, the items of the `input` of a response, the `prompt` of a completion."""
        found = self.body.get("messages", self.body.get("input", self.body.get("prompt")))
        items = [found] if isinstance(found, str) else _list(found)
        messages = [{"role": "user", "content": item} if isinstance(item, str) else item for item in items]
        return [message for message in messages if isinstance(message, dict)]

    @property
    def system(self) -> str:
        """All text of the system, one text per line: `system`, `instructions`, system and developer messages."""
        texts = [text for name in ("system", "instructions") for text in _texts(self.body.get(name))]
        for message in self.messages:
            if message.get("role") in _SYSTEM:
                texts += _texts(message.get("content"))
        return "\n".join(texts)

    @property
    def prompt(self) -> str:
        """The text of the last user message that is more than results, one text per line; "" if there is none."""
        users = [each for each in self.messages if each.get("role") == "user" and not _is_of_results(each)]
        return "\n".join(_texts(users[-1].get("content"))) if users else ""

    @property
    def tools(self) -> list[str]:
        """The names of the offered tools, in order."""
        offered = [tool for tool in _list(self.body.get("tools")) if isinstance(tool, dict)]
        functions = [tool.get("function", tool) for tool in offered] + _list(self.body.get("functions"))
        return [str(function.get("name")) for function in functions if isinstance(function, dict)]

    @property
    def tool_results(self) -> dict[str, str]:
        """The text of each tool result since the last message of the assistant, by the id of its call."""
        results: dict[str, str] = {}
        for message in self.messages:
            if message.get("role") == "assistant" or message.get("type") in _CALLS:
                results.clear()
            for item in (message, *_list(message.get("content"))):
                keys = _RESULTS.get(_kind(item))
                if keys is not None:
                    results[str(item.get(keys[0]))] = "\n".join(_texts(item.get(keys[1])))
        return results

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.body.get("stream") is True

    @property
    def received(self) -> str:
        """The text of the answer that was sent so far."""
        return answered_text(bytes(self.answer_bytes))


def _current_loop() -> trio.lowlevel.TrioToken | None:
    return trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_task() else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _kind(item: Any) -> str:
    """Return the type of an item or a part, or the role of a message."""
    return str(item.get("type") or item.get("role")) if isinstance(item, dict) else ""


def _is_of_results(message: Mapping[str, Any]) -> bool:
    parts = _list(message.get("content"))
    return bool(parts) and all(_kind(part) == "tool_result" for part in parts)


def _texts(content: Any) -> Iterator[str]:
    """Yield the texts of a `content` or `output`, which is a string or a list of parts."""
    if isinstance(content, str):
        yield content
    for part in _list(content):
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
