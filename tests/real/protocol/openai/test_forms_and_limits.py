"""The form, the length and the effort of an answer, on the real Claude Code; warm processes serve them all."""

import json
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Hang, RecordedRequest, Reply, Text, ToolUse, Usage
from tests.http_client import texts
from tests.openai_schema import strict_openai_completion, validate
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving
from tests.real.heard import sent
from tests.real.tool_turns import KEPT, READ, results, use

pytestmark = needs_claude

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"to": {"type": "string", "pattern": "@"}, "n": {"type": "integer"}, "on": {"format": "date"}},
    "required": ["to"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "mail", "schema": SCHEMA, "strict": True}}


def output(call_id: int, **given: Any) -> ToolUse:
    return ToolUse("StructuredOutput", given, f"toolu_{call_id}")


async def ask(served: Served, messages: Any, **fields: Any) -> tuple[dict[str, Any], str]:
    async with Call.open(served.url, chat(messages, **fields)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        validate("CreateChatCompletionResponse", answer)
        strict_openai_completion(answer)
        return answer["choices"][0], call.headers["x-claude-openai-conversation"]


@on_both_backends
async def test_an_answer_has_the_form_with_no_prose_around_it_streamed_or_not(tmp_path: Path, backend: str) -> None:
    reply = Reply("Here it is:", output(1, to="a@b", n=1))
    async with serving(tmp_path, reply, backend=backend) as served:
        choice, _ = await ask(served, "Write.", response_format=FORM)
        assert choice["finish_reason"] == "stop"
        assert json.loads(choice["message"]["content"]) == {"to": "a@b", "n": 1}
        async with Call.open(served.url, chat("Write.", response_format=FORM, stream=True)) as call:
            assert await call.status() == 200
            events = await call.events()
        assert json.loads("".join(texts(events))) == {"to": "a@b", "n": 1}
        assert len(served.api.requests) == 2
        assert served.api.requests[0].tools == ["StructuredOutput"]


@pytest.mark.long
@on_both_backends
async def test_what_claude_code_cannot_check_is_checked_and_corrected_within_the_turn(
    tmp_path: Path, backend: str
) -> None:
    async with serving(tmp_path, backend=backend) as served:
        # The first is refused by Claude Code itself; it checks neither patterns nor formats.
        served.api.enqueue(
            Reply(output(1, n="x")),
            Reply(output(2, to="nobody")),
            Reply(output(3, to="a@b", on="tomorrow")),
            Reply("Sorry.", output(4, to="a@b", on="2025-02-28")),
        )
        choice, _ = await ask(served, "Write.", response_format=FORM)
        assert choice["message"]["content"] == '{"to": "a@b", "on": "2025-02-28"}'
        assert len(served.api.requests) == 4
        assert "does not match '@'" in str(served.api.requests[2].messages)
        assert "'tomorrow' is not of the format 'date'" in str(served.api.requests[3].messages)


@pytest.mark.long
@on_both_backends
async def test_an_answer_that_never_has_the_form_is_an_error_and_no_text(tmp_path: Path, backend: str) -> None:
    def never(request: RecordedRequest) -> Reply:
        return Reply(output(len(request.messages), to="nobody"))

    for reply in (Reply("I would rather not."), never):
        folder = tmp_path / str(callable(reply))
        folder.mkdir()
        async with serving(folder, reply, backend=backend) as served:
            async with Call.open(served.url, chat("Write.", response_format=FORM)) as call:
                status, answer = await call.answer()
            assert (status, answer["error"]["code"]) == (502, "response_format_not_followed")


@pytest.mark.long
async def test_json_mode_is_any_object(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply(output(1, anything=[1, None]))) as served:
        choice, _ = await ask(served, "Write JSON.", response_format={"type": "json_object"})
        assert json.loads(choice["message"]["content"]) == {"anything": [1, None]}


@pytest.mark.long
async def test_an_answer_that_had_a_form_is_text_for_claude_when_the_conversation_goes_on(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Write."}]
    async with serving(tmp_path, Reply(output(1, to="a@b")), max_idle_sessions=2, spares=1) as served:
        choice, _ = await ask(served, asked, response_format=FORM)
        more = [*asked, choice["message"], {"role": "user", "content": "Again."}]
        choice, way = await ask(served, more, response_format=FORM)
        assert way == "replayed"  # the live process has a call and a result there
        assert sent(served.api.requests[1]) == [
            ("user", [("text", "Write.")]),
            ("assistant", [("text", '{"to": "a@b"}')]),
            ("user", [("text", "Again.")]),
        ]
        assert json.loads(choice["message"]["content"]) == {"to": "a@b"}


@pytest.mark.long
async def test_tools_are_called_before_the_answer_has_its_form(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Look it up."}]
    more: dict[str, Any] = {"response_format": FORM, "tools": [READ]}
    async with serving(tmp_path, **KEPT) as served:
        served.api.enqueue(Reply("Let me see.", use(1)), Reply("So:", output(2, to="a@b")))
        choice, _ = await ask(served, asked, **more)
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] == "Let me see."
        choice, way = await ask(served, [*asked, *results({"choices": [choice]}, "found")], **more)
        assert way == "parked"
        assert choice["message"]["content"] == '{"to": "a@b"}'


@pytest.mark.long
@pytest.mark.parametrize(
    ("fields", "sent"), [({"max_tokens": 7}, 7), ({"max_completion_tokens": 9, "max_tokens": 7}, 9)]
)
@on_both_backends
async def test_the_limit_is_claudes_own_limit(tmp_path: Path, backend: str, fields: dict[str, Any], sent: int) -> None:
    reply = Reply("Once upon a", stop_reason="max_tokens")
    async with serving(tmp_path, reply, backend=backend, spares=1, max_idle_sessions=2) as served:
        choice, _ = await ask(served, "Tell me a story.", **fields)
        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"] == "Once upon a"
    (request,) = served.api.requests  # Claude Code would go on 20 ms after the limit
    assert request.body["max_tokens"] == sent


@pytest.mark.long
@pytest.mark.parametrize("spares", [0, 1])
async def test_open_processes_take_limits_and_effort_for_one_turn_and_lose_them_for_the_next(
    tmp_path: Path, spares: int
) -> None:
    said: list[dict[str, Any]] = []
    sent: list[tuple[int, str]] = []
    ways = []
    async with serving(tmp_path, max_idle_sessions=2, spares=spares) as served:
        for fields in (
            {"max_tokens": 500, "reasoning_effort": "high"},
            {},
            {"max_tokens": 10**9},
            {"reasoning_effort": "minimal"},
        ):
            said.append({"role": "user", "content": f"Number {len(said)}."})
            choice, way = await ask(served, said, **fields)
            said.append(choice["message"])
            ways.append(way)
            body = served.api.requests[-1].body
            sent.append((body["max_tokens"], body["output_config"]["effort"]))
    assert ways == ["new", "continued", "continued", "continued"]
    own = sent[1][0]
    assert sent == [(500, "high"), (own, "medium"), (own, "medium"), (own, "low")]
    assert own > 30_000


@pytest.mark.long
async def test_a_replayed_tool_turn_has_its_limit_and_effort_from_the_start(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Look it up."}]
    async with serving(tmp_path) as served:
        served.api.enqueue(Reply(use(1)))
        choice, _ = await ask(served, asked, tools=[READ])
        history = [*asked, *results({"choices": [choice]}, "found")]
        _, way = await ask(served, history, tools=[READ], max_tokens=500, reasoning_effort="high")
        assert way == "replayed"
        body = served.api.requests[-1].body
        assert (body["max_tokens"], body["output_config"]["effort"]) == (500, "high")


@pytest.mark.long
@on_both_backends
async def test_a_stop_sequence_ends_the_answer_and_claude_with_it(tmp_path: Path, backend: str) -> None:
    spent = Usage(input_tokens=11, cache_read_input_tokens=100, output_tokens=50)
    reply = Reply(Text("one E", "N", "D two"), Hang(), usage=spent)
    async with serving(tmp_path, reply, backend=backend) as served:
        async with Call.open(served.url, chat("Count.", stop=["END", "never"])) as call:
            _, whole = await call.answer()
        choice, usage = whole["choices"][0], whole["usage"]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == "one "
        # Claude counts what it wrote at the end, which it did not reach; what it read it counts first.
        assert usage["prompt_tokens"] == 111
        assert usage["prompt_tokens_details"]["cached_tokens"] == 100
        assert 0 < usage["completion_tokens"] < 50
        await served.processes.wait_no_claude()
        body = chat("Count.", stop="END", stream=True, stream_options={"include_usage": True})
        async with Call.open(served.url, body) as call:
            assert await call.status() == 200
            events = await call.events()
        assert "".join(texts(events)) == "one "
        *_, finish, last, _ = events
        assert isinstance(finish, dict)
        assert isinstance(last, dict)
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert last["usage"] == usage
        for request in served.api.requests:
            await request.disconnected.wait()


@pytest.mark.long
async def test_a_conversation_goes_on_live_if_no_stop_sequence_was_found(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Count."}]
    async with serving(tmp_path, Reply(Text("one E", "N")), max_idle_sessions=2) as served:
        choice, _ = await ask(served, asked, stop="END")
        assert choice["message"]["content"] == "one EN"
        _, way = await ask(served, [*asked, choice["message"], {"role": "user", "content": "On."}], stop="END")
        assert way == "continued"
