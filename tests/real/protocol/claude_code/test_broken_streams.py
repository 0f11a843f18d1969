"""Streams of Claude's API that break off, on the real Claude Code.

Tested are what the client gets, how many calls of Claude it costs, and what the next request does. The records that
Claude Code writes for them are described in `claude_openai/protocol/claude_code/turn_reader.py`. Two invariants: a
client never gets words that Claude took back, and never pays for more calls than `claude` makes without the server.
"""

import itertools
import os
import re
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import trio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.wire.tools import read_tools
from claude_openai.standin.script import UpstreamErrorEvent
from claude_openai.testing import (
    OVERLOADED_ERROR,
    Answer,
    Cut,
    Hang,
    HttpError,
    Pause,
    RecordedRequest,
    Reply,
    Script,
    Text,
    Thinking,
    ToolUse,
)
from tests.real.conversing import CLIENTS, READ, Client, Outcome
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until
from tests.real.raw_claude import RawTurn, raw_turn
from tests.real.stage import Stage
from tests.real.tool_turns import upstream

pytestmark = needs_claude

SECOND: Final = "the second."
THOROUGH: Final = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
AT_ONCE: Final = 3
# The way of the conversation is in a header, which a stream sends without it when it has to wait for Claude.
HOLD_STATUS_MS: Final = 60_000


@dataclass(frozen=True)
class Row:
    """One break, and what is expected of it.

    Attributes:
        blocks: what Claude had written: text, thinking (h), calls (c) and calls that do not fit (b), each a capital
            letter if it was whole.
        on_error: what a client without streaming gets after an error event.
        on_cut: what it gets after the connection was cut.
        live: what a client with streaming gets, where that differs.
        afterwards: the way of the next request.
    """

    blocks: str
    on_error: str
    on_cut: str
    live: str | None = None
    afterwards: str = "continued"


# again: only Claude's second message. goes on: the first text, and the second message. busy, ended: an error.
# calls: the complete calls, after the text.
TABLE: Final = (
    Row("", "again", "again"),
    Row("t", "busy", "again", live="ended"),
    Row("T", "goes on", "goes on", afterwards="replayed"),
    Row("Tt", "goes on", "goes on", live="ended", afterwards="replayed"),
    Row("h", "again", "again"),
    Row("H", "again", "again"),
    Row("Ht", "again", "again", live="ended", afterwards="replayed"),
)
WITH_TOOLS: Final = (
    Row("c", "busy", "again"),
    Row("Tc", "goes on", "goes on", afterwards="replayed"),
    Row("C", "calls", "calls"),
    Row("CC", "calls", "calls"),
    Row("Cc", "calls", "calls"),
    Row("TC", "calls", "calls"),
    Row("Ct", "calls", "calls", live="ended"),
    Row("B", "again", "again", afterwards="replayed"),
    Row("Bc", "again", "again", afterwards="replayed"),
)
ERRORS: Final = {
    "busy": "Claude broke off its answer: it is too busy.",
    "ended": "Claude broke off its answer: the stream of its API ended before the answer was complete.",
}


@dataclass(frozen=True)
class Heard:
    """Waits until Claude Code has written a mark so often: then it has read what the mark stands in.

    Attributes:
        output: what it has written so far.
        mark: the mark.
        times: a complete block is written twice, as a delta and as a message.
    """

    output: Callable[[], str]
    mark: str
    times: int

    async def wait(self) -> None:
        await until(lambda: self.output().count(self.mark) >= self.times, f"{self.mark} is read", within_s=60)


def written(blocks: str, key: str, interruption: Callable[[str, int], Sequence[Any]]) -> Reply:
    """A message that breaks off behind the last of its blocks, each with a text or an id of its own.

    Args:
        blocks: see `Row`.
        key: of the conversation.
        interruption: makes the break, from a mark, and how often it is written before.
    """
    steps: list[Any] = []
    for place, kind in enumerate(blocks):
        mark, half = f"{key}{place}", kind.islower()
        broken = interruption(mark, 1 if half else 2) if place == len(blocks) - 1 else ()
        match kind.lower():
            case "t":
                steps.append(Text(f"{mark} sent. ", *(broken if half else ())))
            case "h":
                steps.append(Thinking(f"{mark} thought.", *(broken if half else ())))
            case "c" | "b":
                path = f'"{mark}"}}' if kind.lower() == "c" else '""}'
                end = broken if half else (path,)
                steps.append(ToolUse("mcp__openai__read", id=f"toolu_{mark}", fragments=('{"path": ', *end)))
        if not half:
            steps += broken
    return Reply(*steps, *(() if blocks else interruption("", 0)))


def error_event(mark: str, times: int) -> list[Any]:
    return [UpstreamErrorEvent()]


def cut(output: Callable[[], str], mark: str, times: int) -> list[Any]:
    return [Pause(Heard(output, mark, times)), Cut()]


def text_of(row: Row, key: str) -> str:
    return "".join(f"{key}{place} sent. " for place, kind in enumerate(row.blocks) if kind == "T")


def calls_of(row: Row, key: str) -> list[str]:
    return [f"toolu_{key}{place}" for place, kind in enumerate(row.blocks) if kind == "C"]


class ConversationPool:
    """A script for many conversations: each has its own answers, and then the second message."""

    def __init__(self) -> None:
        self._answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.requests: defaultdict[str, int] = defaultdict(int)

    def put(self, key: str, *answers: Answer) -> None:
        self._answers[key].extend(answers)

    def reply(self, request: RecordedRequest) -> Answer:
        found = re.search(r"case (\w+):", str(request.messages))
        assert found, request.messages
        self.requests[found[1]] += 1
        answers = self._answers[found[1]]
        return answers.popleft() if answers else Reply(SECOND)


def exact(served: Served, key: str, client: Client) -> bool:
    """Whether Claude was last sent exactly what the client has, without the last answer."""
    sent = [request for request in served.api.requests if f"case {key}:" in str(request.messages)][-1]
    return upstream(sent) == client.said[:-1]


def broken(row: Row, key: str, kind: str, served: Served) -> Reply:
    return written(row.blocks, key, error_event if kind == "error event" else partial(cut, served.log_text))


def expected_of(row: Row, kind: str, *, stream: bool) -> str:
    """What is expected of a row."""
    expected = row.on_error if kind == "error event" else row.on_cut
    return row.live if stream and row.live is not None and expected != "busy" else expected


async def check(
    served: Served,
    script: ConversationPool,
    row: Row,
    expected: str,
    key: str,
    client: Client,
    outcome: Outcome,
    before: int = 0,
) -> None:
    """Check an answer and the requests that follow it.

    Args:
        before: how many calls of Claude the conversation has made before the broken one.
    """
    made = script.requests[key] - before
    if expected in ERRORS:
        assert outcome.error is not None, outcome
        assert (outcome.error["message"], outcome.error["type"]) == (ERRORS[expected], "upstream_error")
        assert made <= (1 if expected == "busy" else 2)
        assert client.stream or not outcome.may_retry
        return
    assert outcome.error is None, (row, outcome)
    if expected == "calls":
        assert (outcome.text, outcome.calls, made) == (text_of(row, key), calls_of(row, key), 1)
        outcome = await client.give(outcome.calls)
        assert (outcome.text, outcome.way, script.requests[key] - before) == (SECOND, "parked", 2)
        assert exact(served, key, client)
    else:
        standing = text_of(row, key) if expected == "goes on" else ""
        assert (outcome.text, outcome.calls, made) == (standing + SECOND, [], 2)
    outcome = await client.ask("And then?")
    assert (outcome.text, outcome.way) == (SECOND, row.afterwards)
    assert exact(served, key, client)
    assert script.requests[key] == before + 3


COMBINATIONS: Final = [
    ("sdk", "chat", True, True),
    ("sdk", "chat", False, True),
    ("sdk", "responses", True, False),
    ("cli", "responses", False, False),
]
OTHERS: Final = [
    *[("sdk", "chat", stream, False) for stream in (True, False)],
    *[("sdk", "responses", stream, True) for stream in (True, False)],
    ("sdk", "responses", False, False),
    *[("cli", "chat", stream, False) for stream in (True, False)],
    ("cli", "responses", True, False),
]
KINDS: Final = ("error event", "cut")


def combined() -> list[Any]:
    """Return the combinations, each with both kinds.

    All of them take many minutes: without the thorough profile there are four, and consecutive rows differ in the kind.
    """
    if THOROUGH:
        return [(*each, kind, kind) for each in (*COMBINATIONS, *OTHERS) for kind in KINDS]
    return [(*each, *(KINDS if number % 2 else KINDS[::-1])) for number, each in enumerate(COMBINATIONS)]


@pytest.mark.long
@pytest.mark.parametrize(("backend", "api", "stream", "tools", "one_kind", "other_kind"), combined())
async def test_a_stream_that_breaks_off(
    tmp_path: Path, backend: str, api: str, stream: bool, tools: bool, one_kind: str, other_kind: str
) -> None:
    script, limit = ConversationPool(), trio.CapacityLimiter(AT_ONCE)
    rows = [*TABLE, *(WITH_TOOLS if tools else ())]
    kept: dict[str, Any] = {"max_idle_sessions": len(rows), "max_concurrency": AT_ONCE}
    async with serving(tmp_path, script.reply, backend=backend, hold_status_ms=HOLD_STATUS_MS, **kept) as served:

        async def one(row: Row, number: int) -> None:
            async with limit:
                key, kind = f"q{number}q", other_kind if number % 2 else one_kind
                script.put(key, broken(row, key, kind, served))
                client = CLIENTS[api](served, stream=stream, tools=tools)
                outcome = await client.ask(f"case {key}: say something.")
                of_row = row if backend == "sdk" else replace(row, afterwards="replayed")
                await check(served, script, of_row, expected_of(row, kind, stream=stream), key, client, outcome)

        async with trio.open_nursery() as nursery:
            for number, row in enumerate(rows):
                nursery.start_soon(one, row, number)


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
async def test_a_stream_that_breaks_off_after_the_results_of_tools(tmp_path: Path, stream: bool) -> None:
    script = ConversationPool()
    rows = [each for each in (*TABLE, *WITH_TOOLS) if each.blocks in ("", "t", "T", "C")]
    async with serving(tmp_path, script.reply, max_idle_sessions=4, hold_status_ms=HOLD_STATUS_MS) as served:
        for number, row in enumerate(rows):
            key, kind = f"q{number}q", KINDS[number % 2]
            first = ToolUse("mcp__openai__read", {"path": "/"}, f"toolu_{key}first")
            script.put(key, Reply("Let me see.", first), broken(row, key, kind, served))
            client = CLIENTS["chat"](served, stream=stream, tools=True)
            outcome = await client.ask(f"case {key}: say something.")
            assert (outcome.text, outcome.calls) == ("Let me see.", [f"toolu_{key}first"])
            outcome = await client.give(outcome.calls)
            assert outcome.way == "parked"
            await check(served, script, row, expected_of(row, kind, stream=stream), key, client, outcome, before=1)


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
@on_both_backends
async def test_a_break_behind_the_stop_reason_is_none(tmp_path: Path, backend: str, stream: bool) -> None:
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        script = ConversationPool()
        async with serving(folder, script.reply, backend=backend, max_idle_sessions=1) as served:
            late = error_event("", 0) if kind == "error event" else cut(served.log_text, "end_turn", 1)
            script.put("q", Reply("All said.", before_stop=late))
            client = CLIENTS["chat"](served, stream=stream, tools=False)
            assert (await client.ask("case q: say something.")).text == "All said."
            assert (await client.ask("And then?")).text == SECOND
            assert exact(served, "q", client)
            assert script.requests["q"] == 2


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
@on_both_backends
async def test_streams_that_break_off_again_and_again(tmp_path: Path, backend: str, stream: bool) -> None:
    script = ConversationPool()
    async with serving(tmp_path, script.reply, backend=backend) as served:
        for number, kind in enumerate(KINDS):
            key = f"q{number}q"
            script.put(key, *[broken(Row("T", "", ""), f"{key}{again}", kind, served) for again in range(2)])
            outcome = await CLIENTS["chat"](served, stream=stream, tools=False).ask(f"case {key}: say something.")
            assert outcome.text == f"{key}00 sent. {key}10 sent. {SECOND}"
            assert script.requests[key] == 3


@pytest.mark.long
@on_both_backends
async def test_an_answer_that_is_cut_as_often_as_claude_code_tries_is_an_error(tmp_path: Path, backend: str) -> None:
    script = ConversationPool()
    async with serving(tmp_path, script.reply, backend=backend) as served:
        script.put("q", *[broken(Row("t", "", ""), f"q{again}q", "cut", served) for again in range(3)])
        outcome = await CLIENTS["chat"](served, stream=False, tools=False).ask("case q: say something.")
        assert outcome.error is not None
        assert outcome.error["message"] == "Claude broke off its answer: the connection to its API was lost."
        assert (outcome.may_retry, script.requests["q"]) == (False, 3)


# The process is to be killed when the stop reason has come. Claude Code makes another call about 20 ms after the end,
# which is too short on a busy machine.
SILENT: Final = Reply(before_stop=[Hang()])


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
@on_both_backends
async def test_claude_may_have_nothing_to_add_to_a_text_that_stands(tmp_path: Path, backend: str, stream: bool) -> None:
    script = ConversationPool()
    async with serving(tmp_path, script.reply, backend=backend) as served:
        script.put("q", broken(Row("T", "", ""), "q", "error event", served), SILENT)
        outcome = await CLIENTS["chat"](served, stream=stream, tools=False).ask("case q: say something.")
        assert (outcome.error, outcome.text) == (None, "q0 sent. ")
        await served.processes.wait_no_claude()
        assert script.requests["q"] == 2


LATER: Final = [OVERLOADED_ERROR, HttpError(500, "api_error", "Internal server error")]


@pytest.mark.long
@pytest.mark.parametrize("refusal", LATER)
async def test_a_passing_failure_of_a_later_call_of_a_turn_does_not_end_it(tmp_path: Path, refusal: HttpError) -> None:
    script = ConversationPool()
    misfit = ToolUse("mcp__openai__read", {"path": ""}, "toolu_1")
    script.put("q", refusal, Reply("Let me see. ", misfit), refusal)
    async with serving(tmp_path, script.reply) as served:
        outcome = await CLIENTS["chat"](served, stream=True, tools=True).ask("case q: say something.")
        assert (outcome.error, outcome.text) == (None, f"Let me see. \n\n{SECOND}")
        assert script.requests["q"] == 4


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
async def test_later_call_that_fails_for_good_is_reported_once_without_retry(tmp_path: Path, stream: bool) -> None:
    script = ConversationPool()
    misfit = ToolUse("mcp__openai__read", {"path": ""}, "toolu_1")
    script.put("q", Reply("Let me see. ", misfit), *[OVERLOADED_ERROR] * 9)
    async with serving(tmp_path, script.reply) as served:
        outcome = await CLIENTS["chat"](served, stream=stream, tools=True).ask("case q: say something.")
        assert outcome.error is not None
        assert outcome.error["message"] == ERRORS["busy"]
        assert stream or not outcome.may_retry
        assert script.requests["q"] == 4


@pytest.mark.parametrize("silent", [SILENT, Reply(Thinking("Hm."), before_stop=[Hang()])])
async def test_text_and_a_refused_call_and_then_an_empty_end_is_an_answer(tmp_path: Path, silent: Reply) -> None:
    script = ConversationPool()
    script.put("q", Reply("I know it.", ToolUse("mcp__openai__read", {"path": ""}, "toolu_1")), silent)
    async with serving(tmp_path, script.reply) as served:
        outcome = await CLIENTS["chat"](served, stream=False, tools=True).ask("case q: say something.")
        assert (outcome.error, outcome.text) == (None, "I know it.")
        await served.processes.wait_no_claude()
        assert len(served.api.requests) == 2


FORM: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "number",
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
@on_both_backends
async def test_an_answer_that_has_a_form_comes_through_streams_that_break_off(
    tmp_path: Path, backend: str, stream: bool
) -> None:
    whole = ToolUse("StructuredOutput", {"n": 1}, "toolu_1")
    half = ToolUse("StructuredOutput", id="toolu_1", fragments=('{"n"', UpstreamErrorEvent()))
    script = ConversationPool()
    script.put("whole", Reply("So:", whole, UpstreamErrorEvent()))
    script.put("half", Reply("So:", half), Reply("And:", whole))
    script.put("text", Reply(Text("So:"), UpstreamErrorEvent()), Reply(whole))
    async with serving(tmp_path, script.reply, backend=backend) as served:
        for key, calls in (("whole", 1), ("half", 2), ("text", 2)):
            client = CLIENTS["chat"](served, stream=stream, tools=False, response_format=FORM)
            outcome = await client.ask(f"case {key}: give a number.")
            assert (outcome.error, outcome.text, script.requests[key]) == (None, '{"n": 1}', calls)


# What is generated, message after message: see `Row.blocks`.
BLOCKS: Final = st.tuples(
    st.lists(st.sampled_from("TH"), max_size=2).map("".join), st.sampled_from(["", "", "C", "B", "CC"])
).flatmap(lambda whole: st.sampled_from(["", "t", "h", "c"]).map(lambda half: "".join(whole) + half))
Breaks: TypeAlias = Sequence[tuple[str, str]]
BREAKS: Final = st.lists(st.tuples(BLOCKS, st.sampled_from(KINDS)), min_size=1, max_size=3)


def answers(breaks: Breaks, run: int, output: Callable[[], str]) -> list[Reply]:
    """The messages, with marks that no other run has."""
    return [
        written(blocks, f"run{run}m{number}x", error_event if kind == "error event" else partial(cut, output))
        for number, (blocks, kind) in enumerate(breaks)
    ]


def marks(text: str) -> list[str]:
    """The texts in it, of any run."""
    return [mark.partition("m")[2] for mark in re.findall(r"run\d+m\d+x\d+|second", text)]


async def by_itself(breaks: Breaks, run: int) -> RawTurn:
    """What `claude` makes of it, and what that costs."""

    def script(turn: RawTurn) -> Script:
        left = deque(answers(breaks, run, lambda: turn.output.decode()))
        return lambda request: left.popleft() if left else Reply(SECOND)

    (tool,) = read_tools([{"type": "function", "function": READ}], Budget())
    return await raw_turn("Say something.", script, tool)


async def through_the_server(
    served: Served, script: ConversationPool, breaks: Breaks, run: int, stream: bool
) -> Outcome:
    """The whole turn, results of calls included, with the text of all its answers."""
    script.put(f"run{run}", *answers(breaks, run, served.log_text))
    client = CLIENTS["chat"](served, stream=stream, tools=True)
    outcome = await client.ask(f"case run{run}: say something.")
    text = outcome.text
    while outcome.error is None and outcome.calls:
        outcome = await client.give(outcome.calls)
        text += outcome.text
    return replace(outcome, text=text)


def compare(raw: RawTurn, outcome: Outcome, calls: int, *, stream: bool) -> None:
    assert calls <= raw.requests
    failed = bool(raw.records[-1]["is_error"])
    if outcome.error is None:
        assert not failed
        assert marks(outcome.text) == marks(raw.standing())
    else:
        assert outcome.error["type"] == "upstream_error"
        # A client that streams already has words that Claude Code would drop.
        assert failed or stream


def generated(stage: Stage, folder: Path) -> None:
    """In a thread: run the drawn script on the server of the stage, and on `claude` without it."""
    script, runs = ConversationPool(), itertools.count()
    stage.run(partial(stage.start, folder, script.reply, 100, max_idle_sessions=2))

    @settings(max_examples=60 if THOROUGH else 3, database=None, suppress_health_check=list(HealthCheck))
    @given(BREAKS)
    def each(breaks: list[tuple[str, str]]) -> None:
        raw = stage.run(by_itself, breaks, next(runs))
        for stream in (True, False):
            run = next(runs)
            outcome = stage.run(through_the_server, stage.served, script, breaks, run, stream)
            note(f"stream={stream}: {outcome}; without the server {raw.requests} calls, {raw.standing()!r}")
            compare(raw, outcome, script.requests[f"run{run}"], stream=stream)

    try:
        each()
    finally:
        stage.run(stage.stop)


@pytest.mark.long
async def test_no_words_that_claude_took_back_and_no_more_calls_than_claude_code_makes(tmp_path: Path) -> None:
    async with Stage.open() as stage:
        await trio.to_thread.run_sync(generated, stage, tmp_path)
