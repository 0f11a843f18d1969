"""`fake_claude` in memory: what clients get for each word of a script, what is recorded, and when a script fails."""

from contextlib import suppress
from typing import Any

import anthropic
import openai
import pytest
import trio

from claude_openai.testing import (
    API_ERROR,
    AUTHENTICATION_ERROR,
    OVERLOADED_ERROR,
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    Cut,
    Die,
    FakeClaude,
    FakeRequest,
    Garbage,
    Hang,
    HttpError,
    Json,
    Pause,
    Reply,
    ScriptError,
    Text,
    Thinking,
    ToolUse,
    Usage,
    fake_claude,
)

# The openai package does not close the generators of its streams (3.57), which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
GET: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get",
        "parameters": {"type": "object", "properties": {"q": {"type": "integer"}}, "required": ["q"]},
    },
}
FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "form",
        "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


async def ask(claude: FakeClaude, **fields: Any) -> str | None:
    answer = await claude.openai(max_retries=0).chat.completions.create(**{**CHAT, **fields})
    text: str | None = answer.choices[0].message.content
    return text


async def stream(claude: FakeClaude, **fields: Any) -> list[str]:
    chunks = await claude.openai(max_retries=0).chat.completions.create(**{**CHAT, **fields}, stream=True)
    return [chunk.choices[0].delta.content async for chunk in chunks if chunk.choices[0].delta.content]


async def test_string_is_answered_and_the_request_is_recorded() -> None:
    async with fake_claude("Hello") as claude:
        assert await ask(claude, temperature=0) == "Hello"
        last = claude.last
        assert (last.path, last.prompt, last.system, last.status) == ("/v1/chat/completions", "Hi", "", 200)
        assert last.body["temperature"] == 0
        assert last.headers["authorization"] == f"Bearer {claude.api_key}"
        assert (last.outcome, last.received, last.stream) == ("completed", "Hello", False)
        await last.ended.wait()
        assert [run.status for run in claude.runs] == ["completed"]
        assert "http.request" in {record["event"] for record in claude.log}


async def test_strings_of_a_reply_are_deltas_of_one_text() -> None:
    async with fake_claude(Reply("a", Pause(60), "b")) as claude:
        began = trio.current_time()
        assert await stream(claude) == ["a", "b"]
        assert trio.current_time() - began == 60
        assert (claude.last.received, claude.last.outcome, claude.last.stream) == ("ab", "completed", True)


async def test_pause_can_wait_for_an_event() -> None:
    go = trio.Event()
    async with fake_claude(Reply("a", Pause(go), "b")) as claude:
        chunks = await claude.openai().chat.completions.create(**CHAT, stream=True)
        texts = [(await anext(chunks)).choices[0].delta.content for _ in range(2)]
        assert "".join(text or "" for text in texts) == "a"
        assert claude.last.outcome == "running"
        go.set()
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in chunks]) == "b"


async def test_system_and_parts_of_messages_are_joined() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "system", "content": "You are Bob."}, {"role": "user", "content": parts}]
    async with fake_claude("Hello") as claude:
        await ask(claude, messages=messages)
        assert (claude.last.system, claude.last.prompt) == ("You are Bob.", "one\ntwo")


async def test_thinking_usage_and_stop_reason_reach_the_client() -> None:
    usage = Usage(input_tokens=7, output_tokens=3, thinking_tokens=2)
    async with fake_claude(Reply(Thinking("hm"), "Hel", stop_reason="max_tokens", usage=usage)) as claude:
        answer = await claude.openai().chat.completions.create(**CHAT)
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].message.to_dict()["reasoning_content"] == "hm"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)


async def test_tool_loop_has_ids_and_results() -> None:
    calls = Reply("Let me see.", ToolUse("get", {"q": 1}), ToolUse("get", {"q": 2}))
    async with fake_claude(calls, "done") as claude:
        client = claude.openai()
        first = await client.chat.completions.create(**{**CHAT, "tools": [GET]})
        message = first.choices[0].message
        assert (first.choices[0].finish_reason, message.content) == ("tool_calls", "Let me see.")
        assert claude.last.tools == ["get"]
        ids = [call.id for call in message.tool_calls or ()]
        assert len(set(ids)) == 2
        results = [{"role": "tool", "tool_call_id": call, "content": f"R{n}"} for n, call in enumerate(ids)]
        messages = [*CHAT["messages"], message.to_dict(), *results]
        assert await ask(claude, messages=messages, tools=[GET]) == "done"
        assert claude.last.tool_results == dict(zip(ids, ["R0", "R1"], strict=True))


async def test_responses_api_is_recorded_in_its_own_terms() -> None:
    async with fake_claude(ToolUse("get", {"q": 1}, "call_1"), "done") as claude:
        client = claude.openai()
        tool = {"type": "function", "strict": False, **GET["function"]}
        fields: dict[str, Any] = {"model": "claude-sonnet", "instructions": "You are Bob.", "tools": [tool]}
        first = await client.responses.create(input="Hi", **fields)
        assert (claude.last.prompt, claude.last.system, claude.last.tools) == ("Hi", "You are Bob.", ["get"])
        output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
        items: Any = [{"role": "user", "content": "Hi"}, *(item.to_dict() for item in first.output), output]
        second = await client.responses.create(input=items, **fields)
        assert (second.output_text, claude.last.received) == ("done", "done")
        assert claude.last.tool_results == {"call_1": "42"}
        claude.answer("streamed")
        async with client.responses.stream(input="Hi", **{**fields, "tools": []}) as events:
            assert (await events.get_final_response()).output_text == "streamed"
        assert (claude.last.received, claude.last.outcome) == ("streamed", "completed")


async def test_messages_api_is_recorded_in_its_own_terms() -> None:
    async with (
        fake_claude(ToolUse("get", {"q": 1}, "call_1"), "done", Reply("str", "eamed")) as claude,
        anthropic.AsyncAnthropic(base_url=claude.url.removesuffix("/v1"), api_key=claude.api_key) as client,
    ):
        tool: Any = {"name": "get", "input_schema": GET["function"]["parameters"]}
        fields: dict[str, Any] = {"model": "claude-sonnet", "max_tokens": 100, "system": "You are Bob."}
        asked: Any = {"role": "user", "content": "Hi"}
        first = await client.messages.create(messages=[asked], tools=[tool], **fields)
        assert (claude.last.prompt, claude.last.system, claude.last.tools) == ("Hi", "You are Bob.", ["get"])
        result: Any = {"type": "tool_result", "tool_use_id": "call_1", "content": "42"}
        answered: Any = {"role": "assistant", "content": [block.to_dict() for block in first.content]}
        messages = [asked, answered, {"role": "user", "content": [result]}]
        await client.messages.create(messages=messages, tools=[tool], **fields)
        assert (claude.last.received, claude.last.prompt) == ("done", "Hi")
        assert claude.last.tool_results == {"call_1": "42"}
        async with client.messages.stream(messages=[asked], **fields) as events:
            assert await events.get_final_text() == "streamed"
        await claude.last.ended.wait()
        assert (claude.last.received, claude.last.outcome) == ("streamed", "completed")


@pytest.mark.parametrize("prompt", ["Hi", ["Hi"]])
async def test_completion_of_a_text_is_recorded_with_its_prompt_and_answer(prompt: Any) -> None:
    async with fake_claude("Hello", Reply("Hel", "lo")) as claude:
        client = claude.openai()
        completion = await client.completions.create(model="claude-sonnet", prompt=prompt)
        assert completion.choices[0].text == "Hello"
        assert (claude.last.prompt, claude.last.received, claude.last.stream) == ("Hi", "Hello", False)
        chunks = await client.completions.create(model="claude-sonnet", prompt=prompt, stream=True)
        assert [chunk.choices[0].text async for chunk in chunks] == ["Hel", "lo", ""]
        assert (claude.last.prompt, claude.last.received, claude.last.stream) == ("Hi", "Hello", True)


@pytest.mark.parametrize("answer", [Json({"a": 1}), Reply('{"a": 1}'), '{"a":\n 1}'])
async def test_json_answers_a_response_format(answer: Any) -> None:
    async with fake_claude(answer) as claude:
        text = await ask(claude, response_format=FORM)
        assert text is not None
        assert "".join(text.split()) == '{"a":1}'


async def test_json_without_a_response_format_is_text() -> None:
    async with fake_claude(Json({"a": 1})) as claude:
        assert await ask(claude) == '{"a": 1}'


ERRORS = [
    pytest.param(RATE_LIMIT_ERROR, openai.RateLimitError, "rate_limit_exceeded", id="429"),
    pytest.param(AUTHENTICATION_ERROR, openai.PermissionDeniedError, "upstream_authentication_error", id="401"),
    pytest.param(PROMPT_TOO_LONG, openai.BadRequestError, "context_length_exceeded", id="too long"),
    pytest.param(HttpError(400, "invalid_request_error", "No."), openai.BadRequestError, None, id="400"),
    pytest.param(OVERLOADED_ERROR, openai.InternalServerError, "server_is_overloaded", id="529"),
    pytest.param(API_ERROR, openai.InternalServerError, "upstream_error", id="500"),
    pytest.param(Die(), openai.InternalServerError, "upstream_error", id="death"),
    pytest.param(Cut(), openai.InternalServerError, "upstream_error", id="cut"),
    pytest.param(Reply("Hel", Cut()), openai.InternalServerError, "upstream_error", id="cut in text"),
    pytest.param(Reply("Hel", OVERLOADED_ERROR), openai.InternalServerError, "upstream_error", id="event in text"),
]


@pytest.mark.parametrize(("answer", "error", "code"), ERRORS)
async def test_fault_becomes_the_error_of_the_real_server(answer: Any, error: Any, code: str | None) -> None:
    async with fake_claude(answer) as claude:
        with pytest.raises(error) as caught:
            await ask(claude)
        assert caught.value.code == code
        assert (claude.last.outcome, claude.last.status) == ("failed", caught.value.status_code)


async def test_retry_after_is_obeyed_in_virtual_time() -> None:
    async with fake_claude(RATE_LIMIT_ERROR.with_headers(retry_after="7"), "ok") as claude:
        began = trio.current_time()
        answer = await claude.openai().chat.completions.create(**CHAT)
        assert answer.choices[0].message.content == "ok"
        assert trio.current_time() - began == 7
        assert [request.outcome for request in claude.requests] == ["failed", "completed"]


@pytest.mark.parametrize("fault", [Die(), Cut(), OVERLOADED_ERROR])
async def test_fault_in_a_stream_is_an_error_event(fault: Any) -> None:
    async with fake_claude(Reply("Hel", fault)) as claude:
        with pytest.raises(openai.APIError, match="broke off its answer"):
            await stream(claude)
        assert (claude.last.received, claude.last.outcome, claude.last.status) == ("Hel", "failed", 200)


@pytest.mark.parametrize("broken", [Reply(Cut()), Reply(OVERLOADED_ERROR), Reply(Thinking("hm"), Cut())])
async def test_stream_that_breaks_before_its_text_is_asked_again(broken: Reply) -> None:
    async with fake_claude(broken, "whole") as claude:
        assert await stream(claude) == ["whole"]
        assert len(claude.requests) == 1


async def test_complete_text_is_kept_and_continued_after_a_cut() -> None:
    async with fake_claude(Reply(Text("one "), Thinking(Cut())), "two") as claude:
        assert await ask(claude) == "one two"


async def test_garbage_is_ignored_as_by_claude_code() -> None:
    async with fake_claude(Reply("Hel", Garbage(b"data: {nope\n\n"), "lo")) as claude:
        assert await ask(claude) == "Hello"


async def test_hang_ends_when_the_client_leaves() -> None:
    async with fake_claude(Reply("Hel", Hang())) as claude:
        async with await claude.openai().chat.completions.create(**CHAT, stream=True) as chunks:
            async for chunk in chunks:
                if chunk.choices[0].delta.content:
                    break
        await claude.last.ended.wait()
        assert (claude.last.outcome, claude.last.received) == ("cancelled", "Hel")


async def test_silence_ends_at_the_servers_limit() -> None:
    async with fake_claude(Hang()) as claude:
        began = trio.current_time()
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(claude)
        assert (caught.value.status_code, trio.current_time() - began) == (504, 120)
        assert claude.last.outcome == "failed"


async def test_requests_that_the_server_refuses_are_recorded() -> None:
    async with fake_claude() as claude:
        with pytest.raises(openai.NotFoundError):
            await ask(claude, model="gpt-4")
        with pytest.raises(openai.NotFoundError):
            await claude.openai().embeddings.create(model="claude-sonnet", input="Hi")
        with pytest.raises(openai.AuthenticationError):
            await claude.openai(api_key="wrong").chat.completions.create(**CHAT)
        seen = [(request.path, request.outcome, request.status) for request in claude.requests]
        chat = "/v1/chat/completions"
        assert seen == [(chat, "refused", 404), ("/v1/embeddings", "refused", 404), (chat, "refused", 401)]
        assert claude.requests[0].body["model"] == "gpt-4"


async def test_http_client_has_the_base_url_and_the_key() -> None:
    async with fake_claude() as claude:
        answer = await claude.http().get("/models")
        assert answer.status_code == 200
        assert claude.last.outcome == "completed"


async def test_function_answers_each_request_of_the_rest() -> None:
    def answer(request: FakeRequest) -> str:
        return f"{request.number}: {request.prompt}"

    async with fake_claude("first", answer) as claude:
        assert [await ask(claude) for _ in range(3)] == ["first", "2: Hi", "3: Hi"]


async def test_lenient_script_repeats_its_last_answer() -> None:
    async with fake_claude("a", "b", strict=False) as claude:
        assert [await ask(claude) for _ in range(3)] == ["a", "b", "b"]


async def test_turns_beyond_the_slots_wait_in_the_queue() -> None:
    async with fake_claude(Reply(Pause(60), "a"), Reply(Pause(60), "b"), max_concurrency=1) as claude:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, claude)
            nursery.start_soon(ask, claude)
        assert trio.current_time() == 120


MISTAKES = [
    pytest.param(["a", "b"], {}, "answer 2 .*'b'.* was not asked for", id="left over"),
    pytest.param([lambda _request: 1 / 0], {}, r"answer 1 .* raised ZeroDivisionError.*'Hi'", id="raises"),
    pytest.param([lambda _request: 7], {}, r"invalid result of answer 1 .*7 \(int\)", id="no answer"),
    pytest.param([ToolUse("get", {"q": 1})], {}, "the tool 'get' was not offered; offered: none", id="no tools"),
    pytest.param([ToolUse("put", {})], {"tools": [GET]}, "the tool 'put' was not offered; offered: get", id="other"),
    pytest.param([ToolUse("get", {"q": "x"})], {"tools": [GET]}, "call of 'get' does not fit: .*q", id="arguments"),
    pytest.param([ToolUse("get", fragments="{no")], {"tools": [GET]}, "not valid JSON", id="no JSON"),
    pytest.param(
        [Json({"a": "x"})], {"response_format": FORM}, "JSON does not fit the response_format: .*a", id="form"
    ),
    pytest.param(["text"], {"response_format": FORM}, "no JSON object", id="text for a form"),
    pytest.param(["text"], {"tools": [GET], "tool_choice": "required"}, "calls no tool, .*a call", id="required"),
    pytest.param([ToolUse("get", {"q": 1})], {"tools": [GET], "tool_choice": "none"}, "offered: none", id="none"),
    pytest.param(
        [Reply(ToolUse("get", {"q": 1}), ToolUse("get", {"q": 2}))],
        {"tools": [GET], "parallel_tool_calls": False},
        "several calls",
        id="parallel",
    ),
]


@pytest.mark.parametrize(("answers", "fields", "problem"), MISTAKES)
async def test_script_that_does_not_fit_fails(answers: list[Any], fields: dict[str, Any], problem: str) -> None:
    async def program() -> None:
        async with fake_claude(*answers) as claude:
            with suppress(openai.InternalServerError):
                await ask(claude, **fields)

    with pytest.raises(ScriptError, match=problem):
        await program()


async def test_request_beyond_the_script_fails_and_names_it() -> None:
    async def program() -> None:
        async with fake_claude("a") as claude:
            await ask(claude)
            with pytest.raises(openai.InternalServerError, match="no answer is left") as caught:
                await ask(claude)
            assert caught.value.code == "script_failed"

    with pytest.raises(ScriptError, match="no answer is left for <request 2: POST /v1/chat/completions 'Hi'"):
        await program()


async def test_error_of_the_body_comes_as_itself() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with fake_claude("left over"):
            raise error
    assert caught.value is error
    with pytest.raises(openai.InternalServerError) as failed:
        async with fake_claude() as claude:
            await ask(claude)
    assert "no answer is left" in failed.value.__notes__[0]


async def test_cancel_of_the_body_is_not_an_error() -> None:
    with trio.move_on_after(5) as scope:
        async with fake_claude(Hang()) as claude:
            await ask(claude)
    assert scope.cancelled_caught
    assert claude.last.outcome == "cancelled"


FAULTS = [
    pytest.param(ToolUse("put", {}, fits=False), {"tools": [GET]}, id="tool"),
    pytest.param(ToolUse("get", {"q": "x"}, fits=False), {"tools": [GET]}, id="arguments"),
    pytest.param(Json({"a": "x"}, fits=False), {"response_format": FORM}, id="form"),
    pytest.param(Reply("text", fits=False), {"response_format": FORM}, id="text for a form"),
    pytest.param(Reply("text", fits=False), {"tools": [GET], "tool_choice": "required"}, id="required"),
]


@pytest.mark.parametrize(("fault", "fields"), FAULTS)
async def test_fault_on_purpose_is_corrected_by_the_next_answer(fault: Any, fields: dict[str, Any]) -> None:
    right = Json({"a": 1}) if "response_format" in fields else ToolUse("get", {"q": 1})
    async with fake_claude(fault, right) as claude:
        answer = await claude.openai().chat.completions.create(**CHAT, **fields)
        message = answer.choices[0].message
        assert message.content == '{"a": 1}' if "response_format" in fields else message.tool_calls


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fake_claude(7), r"invalid answer 1 of the script: 7 \(int\); expected a string, Reply"),  # type: ignore[arg-type]
        (lambda: Reply(["a"]), r"invalid step 1 of a Reply: \['a'\] \(list\)"),  # type: ignore[arg-type]
        (lambda: Reply("a", (x for x in "b")), r"invalid step 2 of a Reply: .*\(generator\)"),  # type: ignore[arg-type]
        (lambda: Text(ToolUse("get")), r"invalid part 1 of a Text: ToolUse"),  # type: ignore[arg-type]
        (lambda: ToolUse("toolu_1", "get", {}), r"invalid input of the ToolUse 'toolu_1': 'get' \(str\)"),  # type: ignore[arg-type]
        (lambda: Pause("1"), "invalid end of a Pause"),  # type: ignore[arg-type]
        (lambda: Json([1]), "invalid Json"),
    ],
)
async def test_wrong_value_raises_where_it_is_written(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await make().__aenter__()


async def test_answers_can_be_added_and_are_checked() -> None:
    async with fake_claude() as claude:
        claude.answer("a", "b")
        assert [await ask(claude), await ask(claude)] == ["a", "b"]
        with pytest.raises(TypeError, match="invalid answer 3 of the script"):
            claude.answer(["c"])  # type: ignore[arg-type]


@pytest.mark.parametrize("longer", [1, 2])
async def test_two_fakes_end_in_any_order(longer: int) -> None:
    async def use(number: int) -> None:
        async with fake_claude(Reply(Pause(10 if number == longer else 5), str(number))) as claude:
            assert await ask(claude) == str(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, 1)
        nursery.start_soon(use, 2)
