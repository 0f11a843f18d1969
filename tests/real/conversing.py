"""A client in a conversation, over either API, streamed or not: what it is outcome, and what it will send back.

Knows the requests and answers of both APIs, and no behaviour that is under test.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.real.call import MODEL, Call, chat
from tests.real.harness import Served
from tests.sse_reader import parse_typed_sse

__all__ = ["CLIENTS", "READ", "Client", "Outcome"]

PARAMETERS: Final = {
    "type": "object",
    "properties": {"path": {"type": "string", "minLength": 1}},
    "required": ["path"],
    "additionalProperties": False,
}
READ: Final = {"name": "read", "description": "Read a file", "parameters": PARAMETERS}


@dataclass(slots=True)
class Outcome:
    """What one request was answered.

    Attributes:
        text: the answer so far, also where it failed.
        calls: ids of the calls.
        error: the error object; None if there is none.
        way: the way of the conversation.
        may_retry: False where the client was outcome not to.
    """

    text: str = ""
    calls: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    way: str = ""
    may_retry: bool = True


class Client(ABC):
    """A conversation.

    Args:
        served: the server.
        stream: ask for streams.
        fields: more fields of each request.

    Attributes:
        stream: it asks for streams.
        said: both sides' turns, in the form of `tests.real.tool_turns.upstream`.
    """

    def __init__(self, served: Served, *, stream: bool, tools: bool, **fields: Any) -> None:
        self._served = served
        self.stream = stream
        self._tools = tools
        self._fields = fields
        self.said: list[tuple[str, list[Any]]] = []

    async def ask(self, text: str) -> Outcome:
        self.said.append(("user", [text]))
        self.put_user(text)
        return await self._turn()

    async def give(self, calls: Sequence[str]) -> Outcome:
        """Bring the results of these calls: of each, that it was done."""
        self.said.append(("user", [(call, f"{call} done") for call in calls]))
        self.put_results([(call, f"{call} done") for call in calls])
        return await self._turn()

    async def _turn(self) -> Outcome:
        outcome = Outcome()
        body, path = self.body()
        async with Call.open(self._served.url, body, path) as call:
            status = await call.status()
            data = await call.body()
            outcome.way = call.headers.get("x-claude-openai-conversation", "")
            outcome.may_retry = call.headers.get("x-should-retry") != "false"
        if status != 200:
            outcome.error = json.loads(data)["error"]
        else:
            self.read(data, outcome)
        return outcome

    def note(self, outcome: Outcome, calls: Sequence[tuple[str, str, str]]) -> None:
        """Note an answer with these calls: id, name and arguments."""
        outcome.calls = [call for call, _, _ in calls]
        made = [(call, f"mcp__openai__{name}", json.loads(arguments)) for call, name, arguments in calls]
        self.said.append(("assistant", [*([outcome.text] if outcome.text else []), *made]))

    @abstractmethod
    def put_user(self, text: str) -> None: ...

    @abstractmethod
    def put_results(self, results: Sequence[tuple[str, str]]) -> None: ...

    @abstractmethod
    def body(self) -> tuple[dict[str, Any], str]:
        """The next request and its path."""

    @abstractmethod
    def read(self, data: bytes, outcome: Outcome) -> None:
        """Take an answer of status 200."""


class ChatClient(Client):
    """Over chat completions."""

    def __init__(self, served: Served, **fields: Any) -> None:
        super().__init__(served, **fields)
        self._messages: list[dict[str, Any]] = []

    def put_user(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})

    def put_results(self, results: Sequence[tuple[str, str]]) -> None:
        self._messages += [{"role": "tool", "tool_call_id": call, "content": text} for call, text in results]

    def body(self) -> tuple[dict[str, Any], str]:
        tools = {"tools": [{"type": "function", "function": READ}]} if self._tools else {}
        body = chat(self._messages, stream=self.stream, **tools, **self._fields)
        return body, "/v1/chat/completions"

    def read(self, data: bytes, outcome: Outcome) -> None:
        messages = [event for event in parse_data(data) if event != "[DONE]"] if self.stream else [json.loads(data)]
        calls: dict[int, dict[str, str]] = {}
        for message in messages:
            outcome.error = message.get("error", outcome.error)
            for choice in message.get("choices", ()):
                said = choice["delta" if self.stream else "message"]
                outcome.text += said.get("content") or ""
                for index, call in enumerate(said.get("tool_calls", ())):
                    known = calls.setdefault(call.get("index", index), {"id": "", "name": "", "arguments": ""})
                    known["id"] += call.get("id", "")
                    known["name"] += call["function"].get("name", "")
                    known["arguments"] += call["function"].get("arguments", "")
        if outcome.error is not None:
            return
        self.note(outcome, [(call["id"], call["name"], call["arguments"]) for call in calls.values()])
        functions = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls.values()
        ]
        made = {"tool_calls": functions} if functions else {}
        self._messages.append({"role": "assistant", "content": outcome.text or None, **made})


class ResponsesClient(Client):
    """Over responses."""

    def __init__(self, served: Served, **fields: Any) -> None:
        super().__init__(served, **fields)
        self._items: list[dict[str, Any]] = []

    def put_user(self, text: str) -> None:
        self._items.append({"type": "message", "role": "user", "content": text})

    def put_results(self, results: Sequence[tuple[str, str]]) -> None:
        self._items += [{"type": "function_call_output", "call_id": call, "output": text} for call, text in results]

    def body(self) -> tuple[dict[str, Any], str]:
        tools = {"tools": [{"type": "function", **READ}]} if self._tools else {}
        return {"model": MODEL, "input": self._items, "stream": self.stream, **tools, **self._fields}, "/v1/responses"

    def read(self, data: bytes, outcome: Outcome) -> None:
        if self.stream:
            events = parse_typed_sse(data)
            outcome.text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
            outcome.error = next((event["error"] for event in events if event["type"] == "error"), None)
            response = events[-1]["response"]
        else:
            response = json.loads(data)
            parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
            outcome.text = "".join(part["text"] for part in parts)
        if outcome.error is not None:
            return
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        self.note(outcome, [(call["call_id"], call["name"], call["arguments"]) for call in calls])
        self._items += response["output"]


def parse_data(data: bytes) -> list[Any]:
    """The data of a stream's events."""
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


CLIENTS: Final[Mapping[str, Callable[..., Client]]] = {"chat": ChatClient, "responses": ResponsesClient}
