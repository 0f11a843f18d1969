"""`fake_claude(cassette=...)`: recorded turns are answered again, and other requests fail the test."""

from pathlib import Path
from typing import Any, Final

import httpx2
import openai
import pytest
import trio

from claude_openai.cassettes.entry import Answer, Call, Cancelled, Completed, End, Entry, Failed, Passage
from claude_openai.cassettes.lines import header_line, line_of
from claude_openai.errors import ConfigError, RateLimited, UpstreamError
from claude_openai.protocol.turn.events import FinishReason, Usage
from claude_openai.testing import ScriptError, fake_claude, running_fake_claude
from tests.pure.cassettes.turns_of_cassettes import answered, chat, request_of

# The openai package does not close the generators of its streams (3.57), which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

GET: Final = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
CITY: Final = {
    "type": "json_schema",
    "json_schema": {"name": "city", "schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turns.jsonl"


def write(path: Path, *entries: Entry) -> None:
    path.write_bytes(header_line() + b"".join(map(line_of, entries)))


def hi(**fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}], **fields}


def ended(end: End, *texts: str) -> Answer:
    return Answer(tuple(Passage("text", text) for text in texts), end)


def completed(finish_reason: FinishReason = "stop") -> Completed:
    return Completed(finish_reason, Usage(input_tokens=3, output_tokens=2))


async def test_requests_are_answered_by_content_in_any_order(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    write(path, answered(chat("one"), "1"), answered(chat("two"), "2"), answered(chat("one"), "1 again"))
    async with fake_claude(cassette=path) as claude:
        client = claude.openai()
        texts = []
        for text in ("two", "one", "one"):
            body = hi(messages=[{"role": "user", "content": text}])
            texts.append((await client.chat.completions.create(**body)).choices[0].message.content)
    assert texts == ["2", "1", "1 again"]


async def test_tool_loop_is_answered_with_the_recorded_ids(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    call = {"id": "toolu_1", "type": "function", "function": {"name": "get", "arguments": '{"q": 1}'}}
    messages: list[Any] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "42"},
    ]
    write(
        path,
        Entry(request_of(hi(tools=[GET])), Answer((Call("toolu_1", "get", {"q": 1}),), completed("tool_calls"))),
        Entry(request_of(hi(messages=messages, tools=[GET])), ended(completed(), "It is 42.")),
    )
    async with fake_claude(cassette=path) as claude:
        create = claude.openai().chat.completions.create
        message = (await create(**hi(tools=[GET]))).choices[0].message
        assert [(each.id, each.function.arguments) for each in message.tool_calls] == [("toolu_1", '{"q": 1}')]
        result = {"role": "tool", "tool_call_id": "toolu_1", "content": "42"}
        answer = await create(**hi(messages=[*messages[:1], message.to_dict(), result], tools=[GET]))
        assert answer.choices[0].message.content == "It is 42."
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 2)


async def test_recorded_times_are_kept_in_virtual_time(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    passage = Passage("text", "Hello", ((60_000, 3), (120_000, 2)))
    write(path, Entry(request_of(hi(stream=True)), Answer((passage,), completed(), ms=120_000)))
    async with fake_claude(cassette=path) as claude:
        chunks = await claude.openai().chat.completions.create(**hi(stream=True))
        texts = [(trio.current_time(), chunk.choices[0].delta.content) async for chunk in chunks]
    seen = [(time, text) for time, text in texts if text]
    assert seen == [(60, "Hel"), (120, "lo")]


async def test_structured_output_is_answered_as_recorded(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    write(path, Entry(request_of(hi(response_format=CITY)), ended(completed(), '{"name": "Rome"}')))
    async with fake_claude(cassette=path) as claude:
        answer = await claude.openai().chat.completions.create(**hi(response_format=CITY))
    assert answer.choices[0].message.content == '{"name": "Rome"}'


async def test_recorded_errors_are_answered_again(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    limit = Failed.of(RateLimited("wait", retry_after_s=7))
    broken = Failed.of(UpstreamError("It broke off."))
    write(path, Entry(request_of(hi()), ended(limit)), Entry(request_of(hi()), ended(broken, "Hel")))
    async with fake_claude(cassette=path) as claude:
        client = claude.openai(max_retries=0)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(**hi())
        assert refused.value.response.headers["retry-after"] == "7"
        with pytest.raises(openai.InternalServerError, match=r"It broke off\."):
            await client.chat.completions.create(**hi())
    assert [request.outcome for request in claude.requests] == ["failed", "failed"]


async def test_turn_that_the_client_left_hangs_after_its_text(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    write(path, Entry(request_of(hi(stream=True)), ended(Cancelled(), "Hel")))
    async with fake_claude(cassette=path) as claude:
        async with await claude.openai().chat.completions.create(**hi(stream=True)) as chunks:
            async for chunk in chunks:
                if chunk.choices[0].delta.content == "Hel":
                    break
        await claude.last.ended.wait()
    assert claude.last.outcome == "cancelled"


async def test_request_that_was_not_recorded_fails_the_test_with_the_difference(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    write(path, answered(chat("Weather in Paris")))
    body = hi(messages=[{"role": "user", "content": "Weather in Rome"}])
    difference = 'messages[0].content: recorded "Weather in Paris", now "Weather in Rome"'

    async def run() -> None:
        async with fake_claude(cassette=path) as claude:
            answer = await claude.http().post("chat/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "script_failed")
            assert difference in answer.json()["error"]["message"]

    with pytest.raises(ScriptError) as failed:
        await run()
    assert difference in str(failed.value)
    assert "did not send these requests" in str(failed.value)
    assert "line 2: /v1/chat/completions 'Weather in Paris'" in str(failed.value)


async def test_further_request_fails_the_test(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    write(path, answered(chat("Hi")))

    async def run() -> None:
        async with fake_claude(cassette=path) as claude:
            assert [(await post(claude.http())).status_code for _ in "ab"] == [200, 500]

    with pytest.raises(ScriptError, match="was used, and the program sent one more request"):
        await run()


async def test_unused_turns_are_no_failure_without_strictness(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    write(path, answered(chat("Hi")), answered(chat("never sent")))
    async with fake_claude(cassette=path, strict=False) as claude:
        assert [(await post(claude.http())).status_code for _ in "ab"] == [200, 500]


async def post(client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.post("chat/completions", json=hi())


async def test_answers_beside_a_cassette_are_a_type_error(path: Path) -> None:
    write(path)
    with pytest.raises(TypeError, match="those of its cassette"):
        async with fake_claude("Hello", cassette=path):
            pass
    async with fake_claude(cassette=path) as claude:
        with pytest.raises(TypeError, match="those of its cassette"):
            claude.answer("Hello")


async def test_file_that_is_no_cassette_is_an_error_before_the_block(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the cassette"):
        async with fake_claude(cassette=path):
            pytest.fail("it began")


def test_running_fake_claude_answers_from_a_cassette(path: Path) -> None:
    write(path, answered(chat("Hi"), "Hello"))
    with running_fake_claude(cassette=path) as claude:
        assert claude.openai().chat.completions.create(**hi()).choices[0].message.content == "Hello"
