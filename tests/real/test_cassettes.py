"""A session with the real Claude Code is recorded, and a second one gets the same answers from the cassette."""

from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.cassettes.entry import Call as RecordedCall
from claude_openai.cassettes.entry import Cancelled, Passage
from claude_openai.cassettes.file import read_cassette
from claude_openai.cassettes.matching import Cassette
from claude_openai.testing import (
    RATE_LIMIT_ERROR,
    Answer,
    Hang,
    RecordedRequest,
    Reply,
    Script,
    Text,
    Thinking,
    ToolUse,
    Usage,
    fake_claude,
)
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.harness import needs_claude, on_both_backends, serving, until

pytestmark = needs_claude

USED: Final = Usage(input_tokens=11, output_tokens=7, cache_read_input_tokens=3, thinking_tokens=2)
GET: Final = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
REFUSED: Final = RATE_LIMIT_ERROR.with_headers(retry_after="7", x_should_retry="false")
CITY: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "schema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}


async def answer_of(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and answer: the texts of a stream, else the JSON."""
    async with Call.open(url, body) as call:
        if body.get("stream") and await call.status() == 200:
            return 200, texts(await call.events())
        return await call.answer()


def comparable(value: Any) -> Any:
    """Without ids and times."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items() if key not in ("id", "created")}
    return [comparable(each) for each in value] if isinstance(value, list) else value


async def session(url: str, body: dict[str, Any]) -> list[Any]:
    """Send the request, and the results of its tools until there are no more calls; return the answers."""
    answers = []
    while True:
        status, answer = await answer_of(url, body)
        answers.append([status, answer])
        message = answer["choices"][0]["message"] if isinstance(answer, dict) and "choices" in answer else {}
        if not message.get("tool_calls"):
            return answers
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": f"{call['function']['arguments']} is 42"}
            for call in message["tool_calls"]
        ]
        body = {**body, "messages": [*body["messages"], message, *results]}


async def recorded_and_replayed(
    folder: Path, backend: str, body: dict[str, Any], replies: Script | Answer
) -> tuple[list[Any], list[Any], Cassette]:
    path = folder / "turns.jsonl"
    settings: dict[str, Any] = {"backend": backend, "max_idle_sessions": 4}
    async with serving(folder, replies, record=path, **settings) as served:
        recorded = await session(served.url, body)
    async with fake_claude(cassette=path, real=True, api_key=None, **settings) as claude:
        replayed = await session(claude.url.removesuffix("/v1"), body)
    return recorded, replayed, read_cassette(path)


@pytest.mark.long
@on_both_backends
@pytest.mark.parametrize(
    ("fields", "reply"),
    [
        pytest.param({}, Reply(Thinking("Hm", "m"), Text("Hel", "lo"), usage=USED), id="text"),
        pytest.param({"stream": True}, Reply(Thinking("Hmm"), Text("Hel", "lo")), id="stream"),
        pytest.param({}, REFUSED, id="error"),
        pytest.param({}, Reply("Hel", stop_reason="max_tokens"), id="length"),
        pytest.param(
            {"response_format": CITY},
            Reply(ToolUse(id="toolu_1", name="StructuredOutput", input={"name": "Rome"})),
            id="JSON",
        ),
    ],
)
async def test_recorded_turn_is_answered_again_by_the_stand_in(
    tmp_path: Path, backend: str, fields: dict[str, Any], reply: Answer
) -> None:
    recorded, replayed, cassette = await recorded_and_replayed(tmp_path, backend, chat("Hi", **fields), reply)
    assert len(cassette.entries) == 1
    if fields.get("stream"):
        assert ["".join(texts) for _, texts in recorded] == ["".join(texts) for _, texts in replayed] == ["Hello"]
    elif reply is REFUSED:
        ((one, first), (other, second)) = (*recorded, *replayed)
        assert one == other == 429
        assert first["error"]["code"] == second["error"]["code"] == "rate_limit_exceeded"
    else:
        assert comparable(replayed) == comparable(recorded)


async def test_recorded_tool_loop_is_answered_again_by_the_stand_in(tmp_path: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        if "is 42" in str(request.messages):
            return Reply("Both are 42.")
        return Reply(
            Text("I look."),
            ToolUse(id="toolu_01Aa", name="mcp__openai__get", input={"q": 1}),
            ToolUse(id="toolu_01Bb", name="mcp__openai__get", input={"q": "ü"}),
        )

    body = chat("Get both", tools=[GET])
    recorded, replayed, cassette = await recorded_and_replayed(tmp_path, "sdk", body, reply)
    assert comparable(replayed) == comparable(recorded)
    assert len(recorded) == 2
    first, second = cassette.entries
    assert first.answer.content == (
        Passage("text", "I look."),
        RecordedCall("toolu_1", "get", {"q": 1}),
        RecordedCall("toolu_2", "get", {"q": "ü"}),
    )
    assert [message.get("tool_call_id") for message in second.request.body["messages"][2:]] == ["toolu_1", "toolu_2"]


@pytest.mark.long
@on_both_backends
async def test_turn_that_the_client_left_is_recorded_as_far_as_it_came(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "turns.jsonl"
    async with serving(tmp_path, Reply(Text("one", Hang())), record=path, backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            call.leave()
        await until(lambda: len(read_cassette(path).entries) == 1, "the turn is recorded")
    (entry,) = read_cassette(path).entries
    assert entry.answer.content == (Passage("text", "one"),)
    assert entry.answer.end == Cancelled()
