"""Conversations with several servers behind a load balancer, and what their clients saw."""

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from claude_openai.testing import MessagesApi, RecordedRequest, Reply, ToolUse
from claude_openai.web.http.affinity import AFFINITY_HEADERS
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, until
from tests.real.responses_form import as_message
from tests.real.tool_turns import READ, results, upstream

__all__ = ["AT_ONCE", "TURNS", "UNREACHED", "Traffic", "answer"]

AT_ONCE: Final = 5
# Of each conversation: two calls of a tool, an answer, and the answer to a second question.
TURNS: Final = 4
# Part of the error for a response that may be in the store.
UNREACHED: Final = "cannot be reached now"
LIVE: Final = frozenset({"parked", "continued", "rewound"})


def question(number: int, turn: int) -> str:
    return f"conversation {number}, question {1 if turn < TURNS - 1 else 2}"


def place_of(request: RecordedRequest) -> tuple[int, int]:
    """The conversation and the turn that Claude is asked for."""
    said = upstream(request)
    (number,) = {int(found) for found in re.findall(r"conversation (\d+)", str(said))}
    return number, sum(1 for role, _ in said if role == "user") - 1


def answer(request: RecordedRequest) -> Reply:
    number, turn = place_of(request)
    if turn < 2:
        return Reply(ToolUse("mcp__openai__read", {"path": f"/{number}/{turn}"}, f"toolu_{number}_{turn}"))
    return Reply(f"{number}: answer {turn}")


class Talk(ABC):
    """What a client sends in a conversation."""

    path = "/v1/chat/completions"

    @abstractmethod
    def body(self) -> dict[str, Any]: ...

    @abstractmethod
    def ask(self, text: str) -> None:
        """Add a question."""

    @abstractmethod
    def take(self, answer: dict[str, Any], content: str) -> dict[str, Any]:
        """Take an answer, with this result if it is a call; return its message in the form of a chat."""


class Chat(Talk):
    """The whole history, in each request."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []

    def body(self) -> dict[str, Any]:
        return chat(self._messages, tools=[READ])

    def ask(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})

    def take(self, answer: dict[str, Any], content: str) -> dict[str, Any]:
        message: dict[str, Any] = answer["choices"][0]["message"]
        if message.get("tool_calls"):
            self._messages += results(answer, content)
        else:
            self._messages.append({"role": "assistant", "content": message["content"]})
        return message


class Responses(Talk):
    """The new items, and the id of the response before them."""

    path = "/v1/responses"

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._more: dict[str, Any] = {}

    def body(self) -> dict[str, Any]:
        tool = {"type": "function", **READ["function"]}
        return {"model": "claude-sonnet", "input": self._items, "tools": [tool], **self._more}

    def ask(self, text: str) -> None:
        self._items.append({"role": "user", "content": text})

    def take(self, answer: dict[str, Any], content: str) -> dict[str, Any]:
        self.note(answer)
        calls = [item["call_id"] for item in answer["output"] if item["type"] == "function_call"]
        self._items += [{"type": "function_call_output", "call_id": call, "output": content} for call in calls]
        return as_message(answer)

    def note(self, answer: dict[str, Any]) -> None:
        self._items, self._more = [], {"previous_response_id": answer["id"]}


class Items(Responses):
    """The whole history, but of the answers the ids of their items only."""

    def note(self, answer: dict[str, Any]) -> None:
        self._items += [{"type": "item_reference", "id": item["id"]} for item in answer["output"]]


KINDS: Final[Mapping[str, Callable[[], Talk]]] = {"chat": Chat, "response": Responses, "item": Items}


@dataclass
class Traffic:
    """The clients, and what they saw.

    Attributes:
        conversations: how many there are.
        kinds: of the conversations, in turn.
        keeps_cookies: whether the clients keep cookies, and send no header of affinity.
        at_once: how many of them there are at once.
        unsent: the status of the balancer's own answer to a request which it has sent to no replica.
        ways: of the turns before `moved`: number within the conversation, and route.
        repeats: how often a client had to repeat a turn of which it cannot know whether it was begun.
        refusals: how often a server refused a turn and says that it was not begun.
        unreached: how often a server could not reach the shared store.
        replicas: of the turns, by the header.
        answered: the number of turns.
        moved: whether the first replica has ended.
    """

    url: str
    conversations: int
    kinds: tuple[str, ...] = ("chat",)
    at_once: int = AT_ONCE
    keeps_cookies: bool = False
    unsent: int | None = None
    ways: list[tuple[int, str]] = field(default_factory=list)
    repeats: Counter[tuple[int, int]] = field(default_factory=Counter)
    refusals: int = 0
    unreached: int = 0
    replicas: list[str] = field(default_factory=list)
    answered: int = 0
    moved: bool = False

    @property
    def total(self) -> int:
        """The number of turns of all conversations."""
        return self.conversations * TURNS

    async def converse(self) -> None:
        """Have all conversations, some of them at the same time."""
        numbers = iter(range(self.conversations))

        async def work() -> None:
            for number in numbers:
                await self._converse(number)

        async with trio.open_nursery() as nursery:
            for _ in range(self.at_once):
                nursery.start_soon(work)

    async def reached(self, count: int) -> None:
        await until(lambda: self.answered >= count, f"{count} turns are answered", 4 * LIMIT_S)

    def check(self, api: MessagesApi, live: float = 0.95) -> None:
        """Check the turns.

        No turn is lost or paid twice, and at least the share `live` of follow-ups was live until a replica ended.
        """
        assert self.answered == self.total
        follow_ups = [way for turn, way in self.ways if turn > 0]
        assert sum(way in LIVE for way in follow_ups) >= live * len(follow_ups), follow_ups
        paid = Counter(map(place_of, api.requests))
        assert set(paid) == {(number, turn) for number in range(self.conversations) for turn in range(TURNS)}
        assert [place for place, times in paid.items() if times > 1 + self.repeats[place]] == []
        assert sum(self.repeats.values()) <= self.at_once
        assert api.refused == []

    async def _converse(self, number: int) -> None:
        talk = KINDS[self.kinds[number % len(self.kinds)]]()
        name = AFFINITY_HEADERS[number % len(AFFINITY_HEADERS)].replace("-", "_")
        headers = {} if self.keeps_cookies else {name: f"session {number}"}
        talk.ask(question(number, 0))
        for turn in range(TURNS):
            message = talk.take(await self._turn(number, turn, talk, headers), f"content of /{number}/{turn}")
            if turn < 2:
                (call,) = message["tool_calls"]
                assert json.loads(call["function"]["arguments"]) == {"path": f"/{number}/{turn}"}
            else:
                assert message["content"] == f"{number}: answer {turn}"
                talk.ask(question(number, TURNS - 1))

    async def _turn(self, number: int, turn: int, talk: Talk, headers: dict[str, str]) -> dict[str, Any]:
        while True:
            got: dict[str, str] = {}
            try:
                async with Call.open(self.url, talk.body(), talk.path, **headers) as call:
                    status = await call.status()
                    body = json.loads(await call.body()) if status in (200, 400, 404) else {}
                    got = call.headers
            except (OSError, trio.BrokenResourceError):  # the balancer restarts
                status, body = 0, {}
            if status == 200:
                self.answered += 1
                self.replicas.append(got["x-claude-openai-replica"])
                if self.keeps_cookies and "set-cookie" in got:
                    headers["cookie"] = got["set-cookie"].partition(";")[0]
                if not self.moved:
                    self.ways.append((turn, got["x-claude-openai-conversation"]))
                return body
            is_from_replica = "x-claude-openai-replica" in got
            if UNREACHED in str(body):
                self.unreached += 1
            elif is_from_replica and got.get("x-claude-openai-started") == "no":
                assert status == 503, body
                self.refusals += 1
            elif status != self.unsent or is_from_replica:
                assert status in (0, 502, 503), body
                self.repeats[number, turn] += 1
            await trio.sleep(0.2)
