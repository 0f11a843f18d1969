"""A live conversation is only a saving: if it breaks, the answer is right or a clear error, and nothing is left.

What clients do in any order is `test_conversations`; here is what happens at the worst moment of one of them. That
no process and no folder is left is checked whenever a server of these tests ends.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from claude_agent_sdk import ClaudeSDKClient

from claude_openai.claude.process.guardian import Link
from claude_openai.claude.process.supervised import _unread
from claude_openai.claude.sdk.transport import ProcessTransport
from claude_openai.testing import Hang, Pause, RecordedRequest, Reply, Text, ToolUse
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.harness import OK, Served, needs_claude, serving, until, until_one
from tests.real.tool_turns import ASKED, KEPT, LIST, READ, ask, refused, results, upstream, use

pytestmark = [needs_claude, needs("ordered-claude")]

CALLS = Reply("Let me see.", use(1), use(2))
ANSWERED: list[tuple[str, Any]] = [
    ("user", ["What is in /a and /b?"]),
    ("assistant", ["Let me see.", *(("toolu_" + n, "mcp__openai__read", {"path": "/a"}) for n in "12")]),
    ("user", [("toolu_1", "A"), ("toolu_2", "B")]),
]


def with_results(*texts: str) -> list[dict[str, Any]]:
    """The request that follows `CALLS`, as a client makes it."""
    function = {"name": "read", "arguments": '{"path": "/a"}'}
    calls = [{"id": f"toolu_{number}", "type": "function", "function": function} for number in (1, 2)]
    message = {"content": "Let me see.", "tool_calls": calls}
    return [*ASKED, *results({"choices": [{"message": message}]}, *texts)]


def said(answer: dict[str, Any]) -> str:
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    text: str = choice["message"]["content"]
    return text


def going_on(messages: list[dict[str, Any]], answer: dict[str, Any], text: str) -> list[dict[str, Any]]:
    return [*messages, answer["choices"][0]["message"], {"role": "user", "content": text}]


def kill_all(served: Served) -> None:
    for pid in served.processes.marked():
        os.kill(pid, signal.SIGKILL)


async def streams_calls_and_leaves(served: Served, *, reset: bool) -> None:
    """Ask for `CALLS`, and be gone as soon as the end of them is read."""
    served.api.enqueue(CALLS)
    async with Call.open(served.url, chat(ASKED, tools=[READ, LIST], stream=True)) as call:
        assert await call.status() == 200
        while (event := await call.event()) is not None:
            if isinstance(event, dict) and event["choices"][0]["finish_reason"] == "tool_calls":
                call.leave(reset=reset)
                return
    raise AssertionError("the stream ended without its finish_reason")


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
async def test_a_client_that_is_gone_once_it_has_its_calls_finds_its_turn_waiting(kept: Served, reset: bool) -> None:
    await streams_calls_and_leaves(kept, reset=reset)
    answer, way = await ask(kept, with_results("A", "B"))
    assert (way, said(answer)) == ("parked", "ok")
    assert [upstream(request) for request in kept.api.requests[1:]] == [ANSWERED]


@pytest.mark.long
async def test_results_that_come_too_late_for_the_turn_that_waited_are_answered_all_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path, spares=0, max_idle_sessions=4, tool_result_ttl_ms=200) as served:
        await streams_calls_and_leaves(served, reset=False)
        await served.processes.wait_no_claude()
        answer, way = await ask(served, with_results("A", "B"))
        assert (way, said(answer)) == ("replayed", "ok")
        assert [upstream(request) for request in served.api.requests[1:]] == [ANSWERED]


@pytest.mark.long
@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
async def test_a_client_that_leaves_in_the_middle_of_a_call_ends_the_turn(kept: Served, reset: bool) -> None:
    half_a_call = ToolUse("mcp__openai__read", id="toolu_2", fragments=['{"pa', Hang()])
    kept.api.enqueue(Reply("Let me see.", use(1), half_a_call))
    async with Call.open(kept.url, chat(ASKED, tools=[READ, LIST], stream=True)) as call:
        assert await call.status() == 200
        await call.until_text("Let me see.")
        call.leave(reset=reset)
    request = await kept.api.wait_for_request()
    await request.disconnected.wait()
    await kept.processes.wait_no_claude()
    answer, way = await ask(kept, ASKED)
    assert (way, said(answer)) == ("new", "ok")
    assert len(kept.api.requests) == 2


class Echo:
    """A Claude that says back what it was sent last, as soon as `gate` is open; a question it answers with `CALLS`."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()

    def __call__(self, request: RecordedRequest) -> Reply:
        last = upstream(request)[-1][1]
        steps: tuple[Any, ...] = CALLS.steps if str(last[0]).startswith("What is in") else (f"to {last}",)
        return Reply(*steps, before_headers=[Pause(self.gate)])

    async def race(self, served: Served, *requests: list[dict[str, Any]]) -> list[tuple[str, str]]:
        """Send the requests so that all are asked of Claude before one is answered: the way and the answer of each."""
        self.gate = trio.Event()
        found: dict[int, tuple[str, str]] = {}
        before = len(served.api.requests)

        async def one(number: int, messages: list[dict[str, Any]]) -> None:
            answer, way = await ask(served, messages)
            found[number] = way, said(answer)

        async with trio.open_nursery() as nursery:
            for number, messages in enumerate(requests):
                nursery.start_soon(one, number, messages)
            await served.api.wait_for_request(before + len(requests))
            self.gate.set()
        return [found[number] for number in range(len(requests))]


@pytest.mark.long
async def test_of_equal_follow_ups_at_once_one_continues_and_one_replays(tmp_path: Path) -> None:
    echo = Echo()
    async with serving(tmp_path, echo, **KEPT) as served:
        first = [{"role": "user", "content": "One"}]
        answer, _ = await ask(served, first)
        more = going_on(first, answer, "Two")
        answers = await echo.race(served, more, more)
        assert sorted(answers) == [("continued", "to ['Two']"), ("replayed", "to ['Two']")]
        one, other = served.api.requests[-2:]
        assert upstream(one) == upstream(other)
        third = going_on(more, {"choices": [{"message": {"role": "assistant", "content": "to ['Two']"}}]}, "Three")
        # Both hold the same history now, and each answers one of two.
        assert await echo.race(served, third, third) == [("continued", "to ['Three']")] * 2


@pytest.mark.long
async def test_a_regeneration_and_a_follow_up_at_once_do_not_mix(tmp_path: Path) -> None:
    echo = Echo()
    async with serving(tmp_path, echo, **KEPT) as served:
        first = [{"role": "user", "content": "One"}]
        answer, _ = await ask(served, first)
        second = going_on(first, answer, "Two")
        answer, _ = await ask(served, second)
        third = going_on(second, answer, "Three")
        answers = await echo.race(served, second, third)
        # The later of the two may take back what the other has left.
        assert [said for _, said in answers] == ["to ['Two']", "to ['Three']"]
        assert answers[0][0] in ("replayed", "rewound")
        assert answers[1][0] in ("replayed", "continued")
        heard = sorted([list(upstream(request)) for request in served.api.requests[-2:]], key=len)
        assert [len(turns) for turns in heard] == [3, 5]
        assert heard[0] == heard[1][:3]


@pytest.mark.long
async def test_of_equal_results_at_once_one_goes_to_the_turn_that_waits(tmp_path: Path) -> None:
    echo = Echo()
    async with serving(tmp_path, echo, **KEPT) as served:
        await ask(served, ASKED)
        answers = await echo.race(served, with_results("A", "B"), with_results("A", "B"))
        heard = f"to {ANSWERED[2][1]}"
        assert sorted(answers) == [("parked", heard), ("replayed", heard)]
        assert [upstream(request) for request in served.api.requests[-2:]] == [ANSWERED] * 2


@pytest.mark.long
@pytest.mark.parametrize("wait", [True, False], ids=["long before", "at that moment"])
async def test_a_turn_that_died_while_it_waited_for_results_is_taken_up_by_another(kept: Served, wait: bool) -> None:
    kept.api.enqueue(CALLS)
    await ask(kept, ASKED)
    kill_all(kept)
    if wait:
        await kept.processes.wait_no_claude()
    answer, way = await ask(kept, with_results("A", "B"))
    assert (way, said(answer)) == ("replayed", "ok")
    assert upstream(kept.api.requests[-1]) == ANSWERED


@pytest.mark.long
async def test_a_conversation_that_dies_when_it_is_asked_again_is_replaced(kept: Served) -> None:
    answer, _ = await ask(kept, ASKED)
    kill_all(kept)
    _, way = await ask(kept, going_on(ASKED, answer, "And?"))
    assert way == "replayed"
    assert [said for _, said in upstream(kept.api.requests[-1])] == [["What is in /a and /b?"], ["ok"], ["And?"]]


async def begun(served: Served, way: str) -> list[dict[str, Any]]:
    """The messages of a request that goes this way."""
    if way == "new":
        return list(ASKED)
    served.api.enqueue(CALLS if way == "parked" else Reply("ok"))
    answer, _ = await ask(served, ASKED)
    return with_results("A", "B") if way == "parked" else going_on(ASKED, answer, "And?")


@pytest.mark.long
@pytest.mark.parametrize("way", ["continued", "parked"])
async def test_a_death_that_the_server_hears_of_late_is_no_error(
    kept: Served, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    heard, next_line = trio.Event(), Link.next_line

    async def hears_late(link: Link) -> str:
        line = await next_line(link)
        if line.startswith("exited"):
            await heard.wait()
        return line

    monkeypatch.setattr(Link, "next_line", hears_late)
    try:
        messages = await begun(kept, way)
        kill_all(kept)
        await kept.processes.wait_no_claude()
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def tell() -> None:
                await until(lambda: kept.log_text().count('"conversation.taken"') > 1, "the dead one is asked")
                await trio.testing.wait_all_tasks_blocked()
                heard.set()

            nursery.start_soon(tell)
            answer, way_taken = await ask(kept, messages)
    finally:
        heard.set()  # a server that never hears of the death cannot reap
    assert (way_taken, said(answer)) == ("replayed", "ok")


@pytest.mark.long
async def test_a_conversation_that_dies_as_soon_as_it_is_asked_again_is_an_error_and_not_asked_twice(
    kept: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, _ = await ask(kept, ASKED)
    write = ClaudeSDKClient.query
    deaths = iter([kill_all])

    async def write_and_die(client: ClaudeSDKClient, prompt: Any) -> None:
        transport = client._transport
        assert isinstance(transport, ProcessTransport)
        await write(client, prompt)
        for kill in deaths:
            await until(lambda: _unread(transport._process._stdin) == 0, "it has read the prompt")
            kill(kept)
            await until(lambda: '"process.exit"' in kept.log_text(), "the server knows of the death")
            await trio.testing.wait_all_tasks_blocked()  # all who wait for the death have heard of it

    monkeypatch.setattr(ClaudeSDKClient, "query", write_and_die)
    messages = going_on(ASKED, answer, "And?")
    async with Call.open(kept.url, chat(messages, tools=[READ, LIST])) as call:
        status, error = await call.answer()
    assert (status, error["error"]["type"]) == (502, "upstream_error")
    assert "exit status -9" in error["error"]["message"]
    assert len(kept.api.requests) <= 2  # it may have been killed before it called
    again, way = await ask(kept, messages)
    assert (way, said(again)) == ("replayed", "ok")


HALF_A_CALL = Reply("one", use(3), ToolUse("mcp__openai__read", id="toolu_4", fragments=['{"pa', Hang()]))
DEADLY = [
    pytest.param("new", Reply(before_headers=[Hang()]), id="a new one before its first word"),
    pytest.param("continued", Reply(Text("one", Hang())), id="a continued one in its answer"),
    pytest.param("continued", HALF_A_CALL, id="a continued one in a call"),
    pytest.param("parked", HALF_A_CALL, id="a parked one in its next call"),
]


@pytest.mark.long
@pytest.mark.parametrize(("way", "deadly"), DEADLY)
async def test_a_process_that_dies_in_its_answer_is_an_error_and_never_an_end(
    kept: Served, way: str, deadly: Reply
) -> None:
    messages = await begun(kept, way)
    number = len(kept.api.requests)
    says_something = bool(deadly.steps)
    kept.api.enqueue(deadly)
    async with Call.open(kept.url, chat(messages, tools=[READ, LIST], stream=says_something)) as call:
        await kept.api.wait_for_request(number + 1)
        if says_something:
            assert await call.status() == 200
            await call.until_text("one")
        kill_all(kept)
        if says_something:
            assert call.headers["x-claude-openai-conversation"] == way
            *none, error, done = await call.events()
            assert (none, done) == ([], "[DONE]")
        else:
            status, error = await call.answer()
            assert status == 502
    assert isinstance(error, dict)
    assert "choices" not in error
    assert error["error"]["type"] == "upstream_error"
    assert "exit status -9" in error["error"]["message"]
    assert len(kept.api.requests) == number + 1
    answer, way_again = await ask(kept, messages)
    assert (way_again, said(answer)) == ("new" if way == "new" else "replayed", "ok")


@pytest.mark.long
async def test_results_that_are_not_all_or_not_asked_for_leave_the_turn_waiting(kept: Served) -> None:
    kept.api.enqueue(CALLS)
    await ask(kept, ASKED)
    messages = with_results("A", "B")
    missing = await refused(kept, messages[:-1])
    assert missing["status"] == 400
    assert "toolu_2" in missing["message"]
    assert "toolu_1" not in missing["message"]
    unknown = await refused(kept, [*messages, {**messages[-1], "tool_call_id": "toolu_9"}])
    assert unknown["status"] == 400
    assert "toolu_9" in unknown["message"]
    twice = await refused(kept, [*messages, {**messages[-1], "content": "other"}])
    assert twice["status"] == 400
    answer, way = await ask(kept, messages)
    assert (way, said(answer)) == ("parked", "ok")
    assert upstream(kept.api.requests[-1]) == ANSWERED


@pytest.mark.long
async def test_a_turn_that_waits_ends_when_its_client_sends_the_results_with_words(kept: Served) -> None:
    kept.api.enqueue(CALLS)
    await ask(kept, ASKED)
    await until(lambda: len(kept.processes.claudes()) == 1, "its process waits")
    messages = [*with_results("A", "B"), {"role": "user", "content": "And hurry."}]
    _, way = await ask(kept, messages)
    assert way == "replayed"
    await until(lambda: len(kept.processes.claudes()) == 1, "only the process that answered is left")
    assert '"event":"conversation.passed"' in await kept.whole_log()


@pytest.mark.long
async def test_a_turn_that_waits_for_a_function_ends_when_the_result_comes_which_has_no_id(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1)))
    function = {"name": "read", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}
    async with Call.open(kept.url, chat(ASKED, functions=[function])) as call:
        status, answer = await call.answer()
        assert status == 200, answer
    message = answer["choices"][0]["message"]
    result = {"role": "function", "name": message["function_call"]["name"], "content": "A"}
    async with Call.open(kept.url, chat([*ASKED, message, result], functions=[function])) as call:
        assert await call.status() == 200
    await until(lambda: len(kept.processes.claudes()) == 1, "only the process that answered is left")
    assert (await kept.whole_log()).count('"event":"conversation.passed"') == 1


@pytest.mark.long
async def test_never_are_there_more_processes_than_running_and_waiting_conversations(tmp_path: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        # A new conversation each time, every other one parked: each evicts one.
        return Reply(use(1)) if request.last_user_text in ("1", "3") else OK

    settings: dict[str, Any] = {"max_concurrency": 1, "max_idle_sessions": 1, "spares": 0}
    async with serving(tmp_path, reply, **settings) as served:
        for number in range(5):
            await ask(served, [{"role": "user", "content": str(number)}])
        await until(lambda: len(served.processes.marked()) == 1, "the last is left")
    assert served.most_processes() == 2


async def test_comments_keep_a_stream_alive_while_claude_writes_a_long_call(tmp_path: Path) -> None:
    gate = trio.Event()
    long_call = ToolUse("mcp__openai__read", id="toolu_1", fragments=['{"path": "/', "a" * 1000, Pause(gate), '"}'])
    async with (
        serving(tmp_path, Reply("Let me see.", long_call), comment_interval_ms=20, **KEPT) as served,
        Call.open(served.url, chat(ASKED, tools=[READ], stream=True)) as call,
    ):
        assert await call.status() == 200
        await call.until_text("Let me see.")
        for _ in range(5):
            await call.comment()
        gate.set()
        *_, arguments, end, done = await call.events()
    assert isinstance(arguments, dict)
    assert isinstance(end, dict)
    (fragment,) = arguments["choices"][0]["delta"]["tool_calls"]
    assert json.loads(fragment["function"]["arguments"]) == {"path": "/" + "a" * 1000}
    assert (end["choices"][0]["finish_reason"], done) == ("tool_calls", "[DONE]")


async def a_spare(served: Served) -> int:
    """The process of the one spare, as soon as it waits."""
    await until(lambda: served.log_text().count('"process.start"') == 1, "there is a spare")
    return await until_one(served.processes.marked, "it has its environment")


async def test_a_spare_that_died_is_not_asked(tmp_path: Path) -> None:
    async with serving(tmp_path, **{**KEPT, "spares": 1}) as served:
        os.kill(await a_spare(served), signal.SIGKILL)
        answer, way = await ask(served, ASKED)
        assert (way, said(answer), len(served.api.requests)) == ("new", "ok", 1)


@pytest.mark.long
async def test_a_spare_that_hangs_holds_its_request_up_for_moments_only(
    tmp_path: Path, sdk_settings: Callable[..., None]
) -> None:
    sdk_settings(bind_wait_s=0.3)
    async with serving(tmp_path, **{**KEPT, "spares": 1}) as served:
        hung = await a_spare(served)
        os.kill(hung, signal.SIGSTOP)
        answer, way = await ask(served, ASKED)
        assert (way, said(answer), len(served.api.requests)) == ("new", "ok", 1)
        await until(lambda: hung not in served.processes.marked(), "it is ended")
        assert "did not answer within 0.3 s" in await served.whole_log()
