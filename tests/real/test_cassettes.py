"""A session with the real Claude Code is recorded, and a second one gets the same answers from the cassette.

The stand-in sees Claude Code's request and not the client's, so the test tells it which client's request comes next.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Call as RecordedCall
from claude_openai.cassettes.entry import Cancelled, Passage
from claude_openai.cassettes.file import read_cassette
from claude_openai.cassettes.masking import make_mask
from claude_openai.cassettes.matching import Cassette, next_answer, unused_turns
from claude_openai.cassettes.playing import script_of
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
)
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until

pytestmark = needs_claude

CHAT: Final = "/v1/chat/completions"
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


class Player:
    """The script of a stand-in that answers from a cassette. `expect` names the client's next request."""

    def __init__(self, cassette: Cassette) -> None:
        self.cassette = cassette
        self._next: list[Answer] = []

    def expect(self, body: dict[str, Any]) -> None:
        request = ClientRequest.of(CHAT, body, make_mask())
        entry, self.cassette = next_answer(self.cassette, request)
        self._next.append(script_of(entry, lambda value: ToolUse(id="toolu_o", name="StructuredOutput", input=value)))

    def __call__(self, _: RecordedRequest) -> Answer:
        return self._next.pop(0)


async def answer_of(served: Served, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and answer: the texts of a stream, else the JSON without what is of one session."""
    async with Call.open(served.url, body) as call:
        if body.get("stream") and await call.status() == 200:
            return 200, texts(await call.events())
        return await call.answer()


def comparable(value: Any) -> Any:
    """Without ids and times."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items() if key not in ("id", "created")}
    return [comparable(each) for each in value] if isinstance(value, list) else value


async def session(served: Served, body: dict[str, Any], before: Callable[[dict[str, Any]], None]) -> list[Any]:
    """Send the request, and the results of its tools until there are no more calls; return the answers."""
    answers = []
    while True:
        before(body)
        status, answer = await answer_of(served, body)
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
    (folder / "first").mkdir()
    async with serving(folder / "first", replies, record=path, **settings) as served:
        recorded = await session(served, body, lambda _: None)
    player = Player(read_cassette(path))
    (folder / "second").mkdir()
    async with serving(folder / "second", player, **settings) as served:
        replayed = await session(served, body, player.expect)
    assert unused_turns(player.cassette) == ""
    return recorded, replayed, read_cassette(path)


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
        assert first["error"]["message"] in second["error"]["message"]
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
