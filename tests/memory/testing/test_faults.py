"""`claude.faults`: a program runs once with each fault at each place of a conversation, and may try again."""

from functools import partial
from pathlib import Path
from typing import Any, Final

import openai
import pytest
import trio

from claude_openai.cassettes.lines import header_line
from claude_openai.testing import (
    RATE_LIMIT_ERROR,
    Cut,
    Die,
    FakeClaude,
    Hang,
    Reply,
    ScriptError,
    Thinking,
    ToolUse,
    fake_claude,
    running_fake_claude,
)

# The openai package does not close the generators of its streams (3.57), which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

CHAT: Final[dict[str, Any]] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
GET: Final[dict[str, Any]] = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
CALL: Final = ToolUse("get", {"q": 1}, "call_1")


async def create(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    """Send a request, and once more if it fails: the server tells clients not to repeat a turn that broke off."""
    try:
        return await client.chat.completions.create(**{**CHAT, **fields})
    except openai.APIError:
        return await client.chat.completions.create(**{**CHAT, **fields})


async def agent(client: openai.AsyncOpenAI) -> str | None:
    """Run the tool loop, and return the last text."""
    messages: list[Any] = list(CHAT["messages"])
    while True:
        answer = await create(client, messages=messages, tools=[GET])
        message = answer.choices[0].message
        if not message.tool_calls:
            text: str | None = message.content
            return text
        results = [{"role": "tool", "tool_call_id": call.id, "content": "42"} for call in message.tool_calls]
        messages += [message.to_dict(), *results]


async def places(claude: FakeClaude, *conversation: Any) -> list[str]:
    """Run a request in each run, and return what the faults were."""
    found = []
    async for fault in claude.faults(*conversation, kinds=[Die()]):
        await claude.http().post("chat/completions", json=CHAT)
        found.append(str(fault))
    return found


async def test_each_place_has_a_fault(autojump_clock: trio.testing.MockClock) -> None:
    async with fake_claude() as claude:
        assert await places(claude, Reply(Thinking("Hm"), "Hel", "lo")) == [
            "Die() in answer 1, before step 1",
            "Die() in answer 1, after 0 pieces of step 1",
            "Die() in answer 1, after 1 pieces of step 1",
            "Die() in answer 1, before step 2",
            "Die() in answer 1, after 0 pieces of step 2",
            "Die() in answer 1, after 1 pieces of step 2",
            "Die() in answer 1, after 2 pieces of step 2",
            "Die() in answer 1, after the last step",
            "Die() in answer 1, after the stop reason",
        ]


async def test_program_that_retries_survives_each_fault(autojump_clock: trio.testing.MockClock) -> None:
    late, count = [], 0
    async with fake_claude() as claude:
        async for fault in claude.faults(CALL, "done"):
            first = len(claude.requests)
            assert await agent(claude.openai(max_retries=0, timeout=60)) == "done"
            outcomes = [request.outcome for request in claude.requests[first:]]
            if outcomes == ["completed", "completed"]:
                late.append(str(fault))
            else:
                assert len(outcomes) == 3
            count += 1
    assert count == 30
    assert late == [
        "Cut(reset=False) in answer 1, after the last step",
        "Cut(reset=False) in answer 1, after the stop reason",
        "Hang() in answer 1, after the stop reason",
        "Die() in answer 1, after the stop reason",
        "Cut(reset=False) in answer 2, after the stop reason",
    ]


async def test_program_without_retries_gets_an_error_at_each_fault_and_no_text_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with fake_claude() as claude:
        async for fault in claude.faults(Reply("Hel", "lo"), kinds=[Cut(), Die()]):
            client = claude.openai(max_retries=0)
            texts = []
            try:
                async for chunk in await client.chat.completions.create(**CHAT, stream=True):
                    texts.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - kept if the stream fails
            except openai.APIError:
                assert claude.last.outcome == "failed"
            else:
                assert fault.place == "after the stop reason"
            assert "Hello".startswith("".join(texts))
            assert claude.last.received == "".join(texts)


async def test_script_goes_on_after_the_last_run(autojump_clock: trio.testing.MockClock) -> None:
    async with fake_claude("before", "after") as claude:
        post = claude.http().post
        answers = [(await post("chat/completions", json=CHAT)).json()["choices"][0]["message"]["content"]]
        await places(claude, "Hello")
        answers += [(await post("chat/completions", json=CHAT)).json()["choices"][0]["message"]["content"]]
    assert answers == ["before", "after"]


async def test_script_is_checked_after_a_loop_that_was_left(autojump_clock: trio.testing.MockClock) -> None:
    async def run() -> None:
        async with fake_claude("left over") as claude:
            async for _ in claude.faults("Hello", kinds=[Die()]):
                await claude.http().post("chat/completions", json=CHAT)
                break

    with pytest.raises(ScriptError, match="left over"):
        await run()


async def test_program_that_does_not_reach_a_fault_fails_the_test(autojump_clock: trio.testing.MockClock) -> None:
    async def run() -> None:
        async with fake_claude() as claude:
            async for _ in claude.faults("one", "two", kinds=[Die()]):
                await claude.http().post("chat/completions", json=CHAT)

    with pytest.raises(ScriptError, match="was not asked for, in the run with Die") as failed:
        await run()
    assert str(failed.value).count("not asked for") == 5  # each place of the second answer


async def test_request_that_outlives_its_run_fails_the_test(autojump_clock: trio.testing.MockClock) -> None:
    async def run() -> None:
        async with fake_claude() as claude, trio.open_nursery() as nursery:
            post = partial(claude.http(timeout=None).post, "chat/completions", json=CHAT)
            async for _ in claude.faults("one", kinds=[Hang()]):
                nursery.start_soon(post)
                await claude.wait_for_request(len(claude.requests) + 1)
            nursery.cancel_scope.cancel()

    with pytest.raises(ScriptError, match="did not end after the run with Hang"):
        await run()


async def test_failing_run_names_its_fault(autojump_clock: trio.testing.MockClock) -> None:
    async def run() -> None:
        async with fake_claude() as claude:
            async for _ in claude.faults("Hello", kinds=[Die()]):
                await claude.openai(max_retries=0).chat.completions.create(**CHAT)

    with pytest.raises(openai.InternalServerError) as failed:
        await run()
    assert failed.value.__notes__ == ["fake_claude: the fault was Die() in answer 1, before step 1"]


async def test_error_in_the_conversation_is_answered_and_has_no_fault(autojump_clock: trio.testing.MockClock) -> None:
    async with fake_claude() as claude:
        limit = RATE_LIMIT_ERROR.with_headers(retry_after="60")
        async for fault in claude.faults(limit, "done", kinds=[Die()]):
            assert fault.answer == 2
            answer = await create(claude.openai(max_retries=1))
            assert answer.choices[0].message.content == "done"


async def test_wrong_value_in_the_conversation_is_a_type_error() -> None:
    async with fake_claude() as claude:
        with pytest.raises(TypeError, match="invalid answer 2: 1"):
            claude.faults("one", 1)  # type: ignore[arg-type]


async def test_faults_of_a_fake_with_a_cassette_are_a_type_error(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    path.write_bytes(header_line())
    async with fake_claude(cassette=path) as claude:
        with pytest.raises(TypeError, match="has no place for faults"):
            await claude.faults("Hello").next()


def test_running_fake_claude_has_the_same_runs() -> None:
    with running_fake_claude() as claude:
        runs = 0
        for _ in claude.faults("Hello", kinds=[Die()]):
            response = claude.http().post("chat/completions", json=CHAT)
            assert response.status_code == 502
            runs += 1
        with pytest.raises(TypeError, match="invalid answer 1: 1"):
            claude.faults(1)  # type: ignore[arg-type]
    assert runs == 5
