"""For any requests of clients in any order, Claude is sent exactly what each request says, in one call.

Here the sequences are generated: a state machine drives the whole server over the real Claude Code. Its clients share
texts, and sometimes all that distinguishes callers; they branch, change their mind, call tools, leave, come back after
restarts and deaths. Each request is held against what the stand-in was sent: model, system prompt, tools and turns,
nothing less and nothing more (`heard` names what Claude Code adds of its own). The machine keeps its own list of the
conversations that wait, in terms of requests and not of the server's, so it also sees a conversation that is taken
wrongly, or not at all. The requests come over the three APIs in turns. `CONVERSATION_EXAMPLES=100` runs so many
sequences, new ones each time, and shrinks what fails.

What is at the worst moment of one conversation is `test_conversation_faults`.
"""

import copy
import itertools
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from claude_openai.protocol.claude_code.call_policies import MUST_CALL
from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT
from claude_openai.testing import Hang, Pause, RecordedRequest, Reply, Text, Thinking, ToolUse
from tests.conditions import needs
from tests.media_files import FILES, PICTURE
from tests.real.call import Call
from tests.real.harness import Served, needs_claude, until
from tests.real.heard import (
    PREFIX,
    Message,
    form_of,
    heard,
    is_of_system,
    meant,
    must_call,
    offered,
    turns_of,
)
from tests.real.messages_form import MESSAGES, as_messages, chat_message
from tests.real.responses_form import CHAT, RESPONSES, as_message, as_responses
from tests.real.stage import Stage
from tests.real.tool_turns import LIST, READ

pytestmark = [needs_claude, needs("exact-claude")]

T = TypeVar("T")
Wire: TypeAlias = dict[str, Any]
# The APIs: how a chat request is asked over each, its path, and what its answer says as a message of a chat.
FORMS: Final[Sequence[tuple[Callable[[Mapping[str, Any]], Wire], str, Callable[[Wire], Wire]]]] = (
    (dict, CHAT, lambda answer: answer["choices"][0]["message"]),
    (as_responses, RESPONSES, as_message),
    (as_messages, MESSAGES, chat_message),
)

EXAMPLES: Final = int(os.environ.get("CONVERSATION_EXAMPLES", "0"))
NAMES: Final = ("ann", "bob", "cyd")
LONG_CONTEXT: Final = "claude-sonnet-4-6[1m]"
RUNNING = 2
SPARES = 3  # one for each of two models, and a bound one
PROBES = 1  # learns the notes of a model


@dataclass(frozen=True)
class Kind:
    """A kind of server.

    Attributes:
        kept: how many conversations wait at most.
        expire: they end at once, unless the next request is faster.
        has_tools: it can offer tools to Claude.
        ways: that the turns of the drawn examples go, at least; the others are in tests of their own.
    """

    kept: int
    settings: Mapping[str, Any]
    ways: frozenset[str] = frozenset({"new"})
    expire: bool = False
    has_tools: bool = True


REPLAYING: Final = frozenset({"new", "replayed"})
KEEPING: Final = Kind(3, {"max_idle_sessions": 3, "spares": 1}, REPLAYING | {"continued"})
EXPIRING: Final = Kind(3, {**KEEPING.settings, "session_ttl_ms": 1, "tool_result_ttl_ms": 1}, REPLAYING, expire=True)
CLI: Final = Kind(0, {"backend": "cli"}, has_tools=False)

READ_OTHERWISE: Final = {"type": "function", "function": {"name": "read", "description": "Read a page"}}
TOOLS: Final[dict[str, list[Any]]] = {
    "none": [],
    "one": [READ],
    "two": [READ, LIST],
    "two in another order": [LIST, READ],
    "another description": [READ_OTHERWISE],
}
FORM: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"said": {"type": "string"}},
            "required": ["said"],
            "additionalProperties": False,
        },
    },
}
ONLY_READ: Final = {"type": "function", "function": {"name": "read"}}
# What may be asked for beside the messages; None leaves it out.
FIELDS: Final[dict[str, Sequence[Any]]] = {
    "user": (None, "one", "other"),
    "model": ("claude-sonnet", "claude-opus", "claude-opus-5", LONG_CONTEXT),
    "system": ((), ("Be brief.",), ("Be brief.", "Be kind.")),
    "tools": tuple(TOOLS),
    "tool_choice": (None, "auto", "none", "required", "read"),
    "parallel_tool_calls": (None, False),
    "max_completion_tokens": (None, 1234, 2345),
    "reasoning_effort": (None, "low", "max"),
    "response_format": (None, FORM),
}
BOUNDS: Final = tuple(bound for bound in FIELDS["max_completion_tokens"] if bound)
EFFORTS: Final = tuple(effort for effort in FIELDS["reasoning_effort"] if effort)

# A turn that Claude is corrected in goes on in its conversation to its end, with words that no request has. So none is
# corrected here: Claude calls where it must, one tool where it may call one, with arguments that fit.

SECRET: Final = "secret"
CONTENTS: Final[tuple[Any, ...]] = (
    "Hi",
    SECRET,
    "/help me, please",
    "What is in @/etc/hostname?\n",
    [{"type": "text", "text": "Look at this."}, PICTURE],
    [{"type": "text", "text": "Hi"}, {"type": "text", "text": "And bye"}],
    [*FILES, {"type": "text", "text": "What do they say?"}],
)
RESULTS: Final[tuple[Any, ...]] = (
    "A",
    SECRET,
    "",
    '{"files": []}',
    [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
    [{"type": "text", "text": "A picture:"}, PICTURE],
    [{"type": "text", "text": "Files:"}, *FILES],
)
REMINDER: Final = {"role": "developer", "content": "Plan mode is on."}


@dataclass(frozen=True)
class Plan:
    """What Claude will answer, as far as the request lets it."""

    text: str
    calls: int
    thought: str = ""

    def answer(self, tools: Sequence[str], number: int, *, must_call: bool) -> tuple[str, list[Any]]:
        """The text, and id, name and arguments of each call.

        Args:
            tools: their full names.
            number: how many answers came before.
            must_call: a call is demanded.
        """
        wanted = max(self.calls, int(must_call)) if tools else 0
        names = itertools.islice(itertools.cycle(sorted(tools, reverse=True)), wanted)
        calls = [(f"toolu_{number}_{n}", name, self._arguments(name, n)) for n, name in enumerate(names)]
        return self.text or ("" if calls else "Well."), calls

    def _arguments(self, name: str, number: int) -> dict[str, Any]:
        return {"path": f"/{number} \N{SNOWMAN}"} if name.endswith("read") else {}


PLANS: Final = (Plan("Well.", 0), Plan("Well.\n\n", 0), Plan("", 1), Plan("Let me see.", 2), Plan("Let me see.", 1))
THINKING: Final = (Plan("Well.", 0, "Hm."), Plan("", 1, "What is there?"))
NOTHING: Final = "nothing"
EVENTS: Final = ("the server is started again", "a process dies", "strangers come")
plans = st.sampled_from((*PLANS, *THINKING))
events = st.sampled_from([NOTHING] * 6 + list(EVENTS))
AS_CALLED, BACKWARDS = "in the order of the calls", "backwards"
ways = st.sampled_from([AS_CALLED, BACKWARDS, "with a word more", "with a reminder more"])
BEFORE, AFTER, INSTEAD = "before it", "after it", "instead"
reminders = st.sampled_from([NOTHING] * 3 + [BEFORE, AFTER, INSTEAD])
result_pairs = st.tuples(st.sampled_from(RESULTS), st.sampled_from(RESULTS))
contents = st.sampled_from(CONTENTS)
clients = st.integers(0, len(NAMES) - 1)
changes = st.sampled_from(list(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(FIELDS[name])))


@dataclass
class Client:
    """One client: what it asks for, and its conversation, which may end in calls that wait for their results."""

    name: str
    has_tools: bool
    fields: dict[str, Any] = field(
        default_factory=lambda: {name: values[0] for name, values in FIELDS.items()} | {"tools": "two"}
    )
    messages: list[Wire] = field(default_factory=list)

    @property
    def secret(self) -> str:
        return f"Only {self.name} knows this."

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The conversations that wait for results."""
        return self.messages[-1].get("tool_calls", []) if self.messages else []

    def put(self, content: Any) -> Any:
        return self.secret if content == SECRET else content

    def body(self) -> dict[str, Any]:
        """The request as things are."""
        asked = {name: value for name, value in self.fields.items() if value is not None}
        system = [{"role": "system", "content": text} for text in asked.pop("system")]
        tools, choice = TOOLS[asked.pop("tools")], asked.pop("tool_choice", None)
        if tools and self.has_tools:
            asked["tools"] = tools
            if choice is not None:
                asked["tool_choice"] = ONLY_READ if choice == "read" else choice
        return copy.deepcopy({"messages": [*system, *self.messages], **asked})


@dataclass(frozen=True)
class Key:
    """What a waiting conversation holds, by the requests."""

    identity: tuple[Any, ...]
    turns: tuple[Message, ...]

    @classmethod
    def of(cls, body: Mapping[str, Any], turns: tuple[Message, ...]) -> "Key":
        said = body["model"], body.get("user"), meant(body).system, offered(body)
        options = str(body.get("tool_choice", "auto")), body.get("parallel_tool_calls", True), form_of(body) is None
        # In the middle of its turn it keeps the effort and the bound that the turn began with.
        settings = (meant(body).effort, meant(body).max_tokens) if ends_in_calls(turns) else ()
        return cls((*said, *options, *settings), turns)

    def goes_on_from(self, other: "Key") -> bool:
        begun = self.turns[: len(other.turns)] == other.turns
        return begun and self.identity == other.identity and len(self.turns) > len(other.turns)

    def is_passed_by(self, turns: tuple[Message, ...]) -> bool:
        begun = turns[: len(self.turns)] == self.turns
        return begun and ends_in_calls(self.turns) and len(turns) > len(self.turns)


def ends_in_calls(turns: tuple[Message, ...]) -> bool:
    return bool(turns) and any(kind == "call" for kind, *_ in turns[-1][1])


@dataclass
class Waiting:
    """A conversation that waits; `sure` if nothing can have ended it."""

    key: Key
    sure: bool


class ConversationPool(RuleBasedStateMachine):
    """`waiting` is the model, the least recently used first; `held` all that any conversation of this server has.

    `all_ways` are those of the turns of all pools.
    """

    all_ways: ClassVar[set[str]]

    def __init__(self, stage: Stage, kind: Kind, folder: Path) -> None:
        super().__init__()
        self.stage = stage
        self.kind = kind
        self.folder = folder
        self.clients = [Client(name, kind.has_tools) for name in NAMES]
        self.strangers = itertools.count(1)
        self.asked = itertools.count(1)
        self.waiting: list[Waiting] = []
        self.held: set[Key] = set()
        self.plan = PLANS[0]
        self.gate: trio.Event | None = None

    @property
    def served(self) -> Served:
        return self.stage.served

    # What the stand-in answers.

    def reply(self, request: RecordedRequest) -> Reply:
        # Equal histories get equal ids, and in one history each is new.
        number = sum(message["role"] == "assistant" for message in request.messages)
        tools = [tool for tool in request.tools if tool != STRUCTURED_OUTPUT]
        text, calls = self.plan.answer(tools, number, must_call=MUST_CALL in request.system_text)
        if not calls and STRUCTURED_OUTPUT in request.tools:
            text, calls = "", [(f"toolu_{number}", STRUCTURED_OUTPUT, {"said": text})]
        waits = [] if self.gate is None else [Pause(self.gate)]
        uses = [ToolUse(name, arguments, call) for call, name, arguments in calls]
        thinking = [Thinking(self.plan.thought)] if self.plan.thought else []
        return Reply(*thinking, *([Text(text)] if text else []), *uses, before_headers=waits)

    # The rules.

    @initialize(change=changes, content=contents, plan=plans)
    def two_ask_the_same_and_differ_in_one_thing_at_most(
        self, change: tuple[str, Any], content: Any, plan: Plan
    ) -> None:
        self.stage.run(self._start)
        self.clients[1].fields.update([change])
        for client in self.clients[:2]:
            client.messages.append({"role": "user", "content": client.put(content)})
            self._ask(plan, client)

    @rule(which=clients, content=contents, meanwhile=events, plan=plans, reminder=reminders)
    def says(self, which: int, content: Any, meanwhile: str, plan: Plan, reminder: str = NOTHING) -> None:
        """Calls that wait for results are cancelled."""
        client = self.clients[which]
        if client.calls:
            client.messages.pop()
        said = [{"role": "user", "content": client.put(content)}]
        if client.messages:  # else it would be the system prompt
            said = {BEFORE: [REMINDER, *said], AFTER: [*said, REMINDER], INSTEAD: [REMINDER]}.get(reminder, said)
        client.messages += said
        self._happens(meanwhile)
        self._ask(plan, client)

    @precondition(lambda self: self._with_calls())
    @rule(which=clients, results=result_pairs, how=ways, meanwhile=events, goes_on=st.booleans(), plan=plans)
    def brings_results(
        self, which: int, results: Sequence[Any], how: str, meanwhile: str, goes_on: bool, plan: Plan
    ) -> None:
        client = one_of(self._with_calls(), which)
        self._answer_calls(client, results, backwards=how == BACKWARDS)
        if how == "with a word more":
            client.messages.append({"role": "user", "content": "And hurry."})
        if how == "with a reminder more":
            client.messages.append(REMINDER)
        self._happens(meanwhile)
        self._ask(plan, client)
        if goes_on:
            self._go_on(client)
            self._ask(plan, client)

    @precondition(lambda self: self._with_answer())
    @rule(which=clients, meanwhile=events, goes_on=st.booleans(), plan=plans)
    def regenerates(self, which: int, meanwhile: str, goes_on: bool, plan: Plan) -> None:
        client = one_of(self._with_answer(), which)
        client.messages.pop()
        self._happens(meanwhile)
        self._ask(plan, client)
        if goes_on:
            self._go_on(client)
            self._ask(plan, client)

    @precondition(lambda self: self._with_answer())
    @rule(which=clients, place=st.integers(0, 9), content=contents, plan=plans)
    def edits(self, which: int, place: int, content: Any, plan: Plan) -> None:
        client = one_of(self._with_answer(), which)
        places = [n for n, message in enumerate(client.messages) if message["role"] == "user"]
        del client.messages[one_of(places, place) :]
        client.messages.append({"role": "user", "content": client.put(content)})
        self._ask(plan, client)

    @precondition(lambda self: self._with_answer())
    @rule(which=clients, name=st.sampled_from(list(FIELDS)), value=st.integers(0, 3), plan=plans)
    def changes_something_and_goes_on(self, which: int, name: str, value: int, plan: Plan) -> None:
        client = one_of(self._with_answer(), which)
        client.fields[name] = one_of([other for other in FIELDS[name] if other != client.fields[name]], value)
        self._go_on(client)
        self._ask(plan, client)

    @precondition(lambda self: self._with_answer())
    @rule(whose=clients, which=clients, plan=plans)
    def goes_on_with_what_another_was_told(self, whose: int, which: int, plan: Plan) -> None:
        client, other = self.clients[which], one_of(self._with_answer(), whose)
        client.messages = copy.deepcopy(other.messages)
        self._go_on(client)
        self._ask(plan, client)

    @rule(which=clients, plan=plans)
    def asks_the_same_twice_at_once(self, which: int, plan: Plan) -> None:
        client = self.clients[which]
        self._go_on(client)
        self._ask(plan, client, client)

    @rule(which=clients, plan=plans)
    def asks_at_the_same_time_as_another(self, which: int, plan: Plan) -> None:
        pair = self.clients[which], self.clients[which - 1]
        for client in pair:
            self._go_on(client)
        self._ask(plan, *pair)

    @precondition(lambda self: self._with_answer())
    @rule(which=clients)
    def leaves_in_the_middle_of_the_answer(self, which: int) -> None:
        client = self.clients[which]
        self._go_on(client)
        self.stage.run(self._leave, client)

    def teardown(self) -> None:
        self.stage.run(self.stage.stop)

    # What they are made of.

    def _with_calls(self) -> list[Client]:
        return [client for client in self.clients if client.calls]

    def _with_answer(self) -> list[Client]:
        return [client for client in self.clients if client.messages and client.messages[-1]["role"] == "assistant"]

    def _answer_calls(self, client: Client, results: Sequence[Any], *, backwards: bool = False) -> None:
        pairs = zip(client.calls, itertools.cycle(results), strict=False)
        told = [{"role": "tool", "tool_call_id": call["id"], "content": client.put(said)} for call, said in pairs]
        client.messages += told[::-1] if backwards else told

    def _go_on(self, client: Client) -> None:
        if client.calls:
            self._answer_calls(client, RESULTS[:1])
        else:
            client.messages.append({"role": "user", "content": "Go on."})

    async def _start(self) -> None:
        self.waiting.clear()
        self.held.clear()
        most = self.kind.kept + RUNNING + SPARES + PROBES
        settings = {"max_concurrency": RUNNING, "models": (LONG_CONTEXT,), **self.kind.settings}
        await self.stage.start(self.folder, self.reply, most, **settings)

    def _happens(self, what: str) -> None:
        match what:
            case "the server is started again":
                self.stage.run(self._restart)
            case "a process dies":
                self.stage.run(self._kill, len(self.waiting))
            case "strangers come":
                for _ in range(self.kind.kept):
                    asked = [{"role": "user", "content": str(next(self.strangers))}]
                    self._ask(PLANS[0], Client("stranger", self.kind.has_tools, messages=asked))

    async def _restart(self) -> None:
        await self.stage.stop()
        await self._start()

    async def _kill(self, number: int) -> None:
        pids = self.served.processes.claudes()
        if not pids:
            return
        pid = pids[number % len(pids)]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pid not in self.served.processes.claudes(), "the process is dead")
        for one in self.waiting:
            one.sure = False

    async def _leave(self, client: Client) -> None:
        body = client.body()
        before = len(self.served.api.requests)
        self._take(body)
        self.served.api.enqueue(Reply(Text("one", Hang())))
        async with Call.open(self.served.url, {**body, "stream": True}) as call:
            request = await self.served.api.wait_for_request(before + 1)
            call.leave()
            await request.disconnected.wait()
        self._check([body], self.served.api.requests[before:])

    def _take(self, body: Mapping[str, Any]) -> bool | None:
        """Take the conversation that the request continues: True if it surely waits, None if it may."""
        key = Key.of(body, meant(body).turns[:-1])
        found = next((one for one in reversed(self.waiting) if one.key == key and continues(body)), None)
        if found is not None:
            self.waiting.remove(found)
            if found.sure:
                return True
        # Equal calls have equal ids here, so it may go past those of other clients, which ends their conversations.
        for one in self.waiting:
            one.sure = one.sure and not one.key.is_passed_by(meant(body).turns)
        return None if found is not None or key in self.held else False

    def _take_back(self, body: Mapping[str, Any]) -> None:
        """Take the conversation that held what the request does, and least beside that."""
        wanted = Key.of(body, meant(body).turns[:-1])
        holding = [one for one in self.waiting if one.key.goes_on_from(wanted)]
        self.waiting.remove(min(holding, key=lambda one: len(one.key.turns)))

    def _ask(self, plan: Plan, *asking: Client) -> None:
        # Claude has to call one tool at a time, and does so.
        one_only = any(client.fields["parallel_tool_calls"] is False for client in asking)
        self.plan = replace(plan, calls=min(plan.calls, 1)) if one_only else plan
        self.stage.run(self._ask_all, asking)

    async def _ask_all(self, asking: Sequence[Client]) -> None:
        bodies = [client.body() for client in asking]
        expected = [self._take(body) for body in bodies]
        before = len(self.served.api.requests)
        answers: dict[int, tuple[str, Wire]] = {}

        async def one(number: int, body: Mapping[str, Any]) -> None:
            # The APIs take turns, so that a conversation of one goes on over another.
            convert, path, message_of = FORMS[next(self.asked) % len(FORMS)]
            async with Call.open(self.served.url, convert(body), path) as call:
                status, answer = await call.answer()
                assert status == 200, answer
                way = call.headers["x-claude-openai-conversation"]
                answers[number] = way, message_of(answer)

        self.gate = trio.Event() if len(bodies) > 1 else None
        async with trio.open_nursery() as nursery:
            for number, body in enumerate(bodies):
                nursery.start_soon(one, number, body)
            if self.gate is not None:
                await self.served.api.wait_for_request(before + len(bodies))
                self.gate.set()
        ways, messages = zip(*(answers[number] for number in range(len(bodies))), strict=True)
        self.all_ways.update(ways)
        self._check(bodies, self.served.api.requests[before:])
        # A conversation that surely waits is taken; a conversation that cannot wait is not.
        live = [way in ("continued", "parked") for way in ways]
        # Of two at once, the first may take back what the other would have continued.
        taken_back = ways.count("rewound") if len(ways) > 1 else 0
        assert sum(live) + taken_back >= expected.count(True)
        assert sum(live) <= len(live) - expected.count(False)
        for body, way in zip(bodies, ways, strict=True):
            if way == "rewound":
                self._take_back(body)
        for client, body, message in zip(asking, bodies, messages, strict=True):
            self._check_answer(body, message)
            # Claude has seen a call and a result where the client has an answer in its form.
            if form_of(body) is None or "tool_calls" in message:
                self._keep(body, message, sure=len(asking) == 1)
            client.messages = [*itertools.dropwhile(is_of_system, body["messages"]), message]
        kept = 0 if self.kind.expire else self.kind.kept
        await until(
            lambda: len(self.served.processes.claudes()) <= kept + SPARES, "the processes that are not kept are gone"
        )

    def _keep(self, body: Mapping[str, Any], message: Wire, *, sure: bool) -> None:
        key = Key.of(body, turns_of([*body["messages"], message]))
        self.held.add(key)
        self.waiting.append(Waiting(key, sure and not self.kind.expire))
        del self.waiting[: max(0, len(self.waiting) - self.kind.kept)]

    def _check(self, bodies: Sequence[Mapping[str, Any]], requests: Sequence[RecordedRequest]) -> None:
        """Hold what the stand-in was sent against what was asked."""
        assert len(requests) == len(bodies)
        wanted = [meant(body) for body in bodies]
        for request in requests:
            # Which request is whose, where several came at once, shows in what there is to compare.
            one = heard(request, bounds=BOUNDS, efforts=EFFORTS)
            assert one in wanted, (one, wanted)
            wanted.remove(one)
        asked = json.dumps(bodies)
        for request in requests:
            assert not [c.name for c in self.clients if c.secret.encode() in request.raw and c.secret not in asked]

    def _check_answer(self, body: Mapping[str, Any], message: Wire) -> None:
        number = sum(role == "assistant" for role, _ in meant(body).turns)
        tools = [json.loads(tool)[0] for tool in offered(body)]
        text, calls = self.plan.answer(tools, number, must_call=must_call(body))
        if form_of(body) is not None and not calls:
            text = json.dumps({"said": text})
        assert message["content"] == (text or None)
        assert [
            (call["id"], PREFIX + call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls", ())
        ] == calls


def one_of(things: Sequence[T], number: int) -> T:
    return things[number % len(things)]


def ends_in_results(body: Mapping[str, Any]) -> bool:
    return any(kind == "result" for kind, *_ in meant(body).turns[-1][1])


def continues(body: Mapping[str, Any]) -> bool:
    """Whether the end of a request can go to a waiting conversation: results of tools without files, or no such."""
    said = meant(body).turns[-1][1]
    results = [block for block in said if block[0] == "result"]
    has_files = any(part[0] == "document" for *_, parts in results for part in parts)
    return len(results) in (0, len(said)) and not has_files


async def on_stage(folders: pytest.TempPathFactory, kind: Kind, run: Callable[[Any], None]) -> set[str]:
    """Run something in a thread that sets up machines, while this program runs their servers; return the ways."""
    async with Stage.open() as stage:

        class OnStage(ConversationPool):
            all_ways: ClassVar[set[str]] = set()

            def __init__(self) -> None:
                super().__init__(stage, kind, folders.mktemp("conversations"))

        await trio.to_thread.run_sync(run, OnStage)
        return OnStage.all_ways


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "examples"),
    [
        pytest.param(KEEPING, 4, id="conversations are kept"),
        pytest.param(EXPIRING, 2, id="conversations expire"),
        pytest.param(CLI, 1, id="each turn is a process of its own"),
    ],
)
async def test_claude_gets_the_request_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, examples: int
) -> None:
    chosen = settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=10,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if EXAMPLES else (Phase.generate,),
    )
    ways = await on_stage(tmp_path_factory, kind, lambda machine: run_state_machine_as_test(machine, settings=chosen))
    assert ways >= kind.ways


def results_come_after_a_restart_and_more_is_said(machine: ConversationPool) -> None:
    machine.two_ask_the_same_and_differ_in_one_thing_at_most(("user", "other"), "Hi", PLANS[3])
    machine.brings_results(0, RESULTS[:2], BACKWARDS, "the server is started again", True, PLANS[0])
    machine.says(0, SECRET, NOTHING, PLANS[2])
    machine.brings_results(0, RESULTS[-2:], AS_CALLED, NOTHING, True, PLANS[3])
    machine.brings_results(0, RESULTS[1:3], AS_CALLED, NOTHING, False, PLANS[0])


def claude_thinks_between_its_calls(machine: ConversationPool) -> None:
    machine.two_ask_the_same_and_differ_in_one_thing_at_most(("reasoning_effort", "max"), "Hi", THINKING[1])
    machine.brings_results(1, RESULTS[:2], AS_CALLED, NOTHING, False, THINKING[1])
    machine.brings_results(1, RESULTS[:2], AS_CALLED, "the server is started again", True, THINKING[0])
    machine.changes_something_and_goes_on(1, "model", 2, THINKING[1])


def everything_that_tells_conversations_apart_changes(machine: ConversationPool) -> None:
    machine.two_ask_the_same_and_differ_in_one_thing_at_most(("user", None), "Hi", PLANS[0])
    for name in FIELDS:
        machine.goes_on_with_what_another_was_told(0, 1, PLANS[0])
        machine.changes_something_and_goes_on(1, name, 1, PLANS[0])


def system_messages_keep_their_place(machine: ConversationPool) -> None:
    machine.two_ask_the_same_and_differ_in_one_thing_at_most(("user", "other"), "Hi", PLANS[0])
    machine.says(0, "Hi", NOTHING, PLANS[3], BEFORE)
    machine.brings_results(0, RESULTS[:2], "with a reminder more", NOTHING, True, PLANS[0])
    machine.says(0, SECRET, NOTHING, PLANS[0], INSTEAD)
    machine.says(0, SECRET, "the server is started again", PLANS[0], AFTER)


def files_come_in_words_and_in_results(machine: ConversationPool) -> None:
    machine.two_ask_the_same_and_differ_in_one_thing_at_most(("user", "other"), CONTENTS[-1], PLANS[2])
    machine.brings_results(0, RESULTS[-1:], AS_CALLED, NOTHING, True, PLANS[0])
    machine.says(1, CONTENTS[-1], "the server is started again", PLANS[0])


def answers_have_a_form(machine: ConversationPool) -> None:
    machine.two_ask_the_same_and_differ_in_one_thing_at_most(("response_format", FORM), "Hi", PLANS[0])
    machine.says(1, "Hi", NOTHING, PLANS[3])
    machine.brings_results(1, RESULTS[:2], AS_CALLED, NOTHING, True, PLANS[0])
    machine.changes_something_and_goes_on(1, "response_format", 0, PLANS[0])


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        pytest.param(KEEPING, {"new", "continued", "rewound"}, id="conversations are kept"),
        pytest.param(CLI, {"new", "replayed"}, id="each turn is a process of its own"),
    ],
)
async def test_answer_that_is_wanted_again_and_an_edited_message_reach_claude_exactly(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, ways: set[str]
) -> None:
    def run(machine: Callable[[], ConversationPool]) -> None:
        conversations = machine()
        try:
            conversations.two_ask_the_same_and_differ_in_one_thing_at_most(("user", "other"), "Hi", PLANS[0])
            conversations.says(0, SECRET, NOTHING, PLANS[0])
            conversations.regenerates(0, NOTHING, True, PLANS[1])
            conversations.edits(0, 1, "Hi", PLANS[4])
        finally:
            conversations.teardown()

    assert await on_stage(tmp_path_factory, kind, run) == ways


@pytest.mark.long
@pytest.mark.parametrize(
    ("sequence", "ways"),
    [
        (results_come_after_a_restart_and_more_is_said, {"new", "replayed"}),
        (claude_thinks_between_its_calls, {"new", "replayed"}),
        (everything_that_tells_conversations_apart_changes, {"new", "replayed"}),
        (system_messages_keep_their_place, {"new", "continued", "replayed"}),
        (files_come_in_words_and_in_results, {"new", "continued", "replayed"}),
        (answers_have_a_form, {"new", "parked", "replayed"}),
    ],
)
async def test_fixed_sequence_keeps_to_the_model(
    tmp_path_factory: pytest.TempPathFactory, sequence: Callable[[ConversationPool], None], ways: set[str]
) -> None:
    def run(machine: Callable[[], ConversationPool]) -> None:
        conversations = machine()
        try:
            sequence(conversations)
        finally:
            conversations.teardown()

    assert await on_stage(tmp_path_factory, KEEPING, run) >= ways
