"""Tools on the real Claude Code: the turn waits for the client's results, and goes on with them."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from claude_openai.protocol.claude_code.call_policies import MUST_CALL, ONE_CALL_ONLY
from claude_openai.protocol.claude_code.tool_calls import MAX_CORRECTIONS
from claude_openai.testing import Hang, Reply, Text, Thinking, ToolUse
from tests.conditions import needs
from tests.http_client import texts
from tests.openai_schema import strict_openai_chunk
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until
from tests.real.tool_turns import ASKED, KEPT, LIST, READ, ask, refused, results, upstream, use

pytestmark = needs_claude


def as_asked(messages: Sequence[dict[str, Any]]) -> list[tuple[str, Any]]:
    """A request's messages, results of tools included, as `upstream` gives them."""
    turns: list[tuple[str, Any]] = []
    for message in messages:
        calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())]
        said: list[Any] = [message["content"]] if message["content"] else []
        said += [(i, f"mcp__openai__{name}", json.loads(arguments)) for i, name, arguments in calls]
        if message["role"] == "tool":
            said = [(message["tool_call_id"], message["content"])]
        turns.append(("assistant" if message["role"] == "assistant" else "user", said))
    return turns


@pytest.mark.long
@needs("ordered-claude")
async def test_parallel_calls_come_together_and_their_results_go_to_the_same_turn(kept: Served) -> None:
    kept.api.enqueue(Reply("Let me see.", use(1), use(2, "/b")), Reply("Both are empty."))
    first, way = await ask(kept, ASKED)
    choice = first["choices"][0]
    assert way == "new"
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see."
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["toolu_1", "toolu_2"]
    assert json.loads(choice["message"]["tool_calls"][1]["function"]["arguments"]) == {"path": "/b"}

    reversed_results = results(first, "A", "B")
    reversed_results[1:] = reversed_results[:0:-1]
    second, way = await ask(kept, [*ASKED, *reversed_results])
    assert way == "parked"
    assert second["choices"][0]["message"]["content"] == "Both are empty."
    assert second["choices"][0]["finish_reason"] == "stop"
    assert len(kept.api.requests) == 2
    assert kept.api.requests[0].tools == ["mcp__openai__list-files_2", "mcp__openai__read"]
    calls = [("toolu_1", "mcp__openai__read", {"path": "/a"}), ("toolu_2", "mcp__openai__read", {"path": "/b"})]
    assert upstream(kept.api.requests[1]) == [
        ("user", ["What is in /a and /b?"]),
        ("assistant", ["Let me see.", *calls]),
        ("user", [("toolu_1", "A"), ("toolu_2", "B")]),
    ]


async def give_results(served: Served, messages: list[dict[str, Any]], *texts: str) -> list[str]:
    """Answer the call of each turn with one of the texts, then take the last turn's answer; the routes of the turns."""
    ways = []
    for text in texts:
        answer, way = await ask(served, messages)
        messages += results(answer, text)
        ways.append(way)
    answer, way = await ask(served, messages)
    messages.append(answer["choices"][0]["message"])
    return [*ways, way]


@pytest.mark.long
async def test_a_conversation_goes_on_after_its_tools(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1)), Reply(use(2, "/b")), Reply("Done."), Reply("Again."))
    messages: list[dict[str, Any]] = list(ASKED)
    ways = await give_results(kept, messages, "A", "B")
    messages.append({"role": "user", "content": "And now?"})
    again, last = await ask(kept, messages)
    assert [*ways, last] == ["new", "parked", "parked", "continued"]
    assert again["choices"][0]["message"]["content"] == "Again."
    assert len(kept.api.requests) == 4
    assert upstream(kept.api.requests[3])[-2:] == [("assistant", ["Done."]), ("user", ["And now?"])]


async def test_streamed_calls_have_index_id_type_and_name_first_and_then_their_arguments(kept: Served) -> None:
    kept.api.enqueue(Reply("Hm.", use(1), use(2, "/b", limit=3)))
    async with Call.open(kept.url, chat(ASKED, tools=[READ], stream=True)) as call:
        assert await call.status() == 200
        events = await call.events()
    chunks = [event for event in events if isinstance(event, dict)]
    for chunk in chunks:
        strict_openai_chunk(chunk)
    fragments = [f for c in chunks for f in c["choices"][0]["delta"].get("tool_calls", ())]
    assert [(f["index"], f.get("id"), f.get("type"), f["function"].get("name")) for f in fragments] == [
        (0, "toolu_1", "function", "read"),
        (0, None, None, None),
        (1, "toolu_2", "function", "read"),
        (1, None, None, None),
    ]
    assert json.loads(fragments[3]["function"]["arguments"]) == {"path": "/b", "limit": 3}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert texts(events) == ["Hm."]


async def test_arguments_are_streamed_as_claude_writes_them_and_not_held_back_until_they_are_whole(
    kept: Served,
) -> None:
    await ask(kept, ASKED)
    (request,) = kept.api.requests
    assert [tool["eager_input_streaming"] for tool in request.body["tools"]] == [True, True]


@pytest.mark.long
async def test_arguments_that_do_not_fit_are_corrected_by_claude_before_the_client_sees_a_call(kept: Served) -> None:
    kept.api.enqueue(Reply("Trying.", use(1, "", limit=1)), Reply(use(2)))
    answer, _ = await ask(kept, ASKED)
    assert [call["id"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["toolu_2"]
    ((_, problem),) = upstream(kept.api.requests[1])[-1][1]
    assert "$.path" in problem
    assert answer["usage"]["completion_tokens"] == 10


@pytest.mark.long
async def test_arguments_that_never_fit_are_an_error(kept: Served) -> None:
    kept.api.enqueue(*[Reply(use(number, "")) for number in range(1, 8)])
    error = await refused(kept, ASKED)
    assert error["status"] == 502
    assert "do not match" in error["message"]
    assert len(kept.api.requests) == 1 + MAX_CORRECTIONS
    assert error["x-should-retry"] == "false"


async def test_a_restart_in_the_middle_of_a_tool_loop_loses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply("Let me see.", use(1)), **KEPT) as before:
        first, _ = await ask(before, ASKED)
    async with serving(tmp_path, Reply("It is empty."), **KEPT) as after:
        second, way = await ask(after, [*ASKED, *results(first, "A")])
        assert way == "replayed"
        assert second["choices"][0]["message"]["content"] == "It is empty."
        assert len(after.api.requests) == 1
        *history, (role, said) = upstream(after.api.requests[0])
        assert history == [
            ("user", ["What is in /a and /b?"]),
            ("assistant", ["Let me see.", ("toolu_1", "mcp__openai__read", {"path": "/a"})]),
        ]
        assert role == "user"
        assert said[0] == ("toolu_1", "A")


@pytest.mark.long
async def test_after_a_restart_the_rest_of_the_loop_is_one_turn_again_and_stays_live(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, Reply("Let me see.", use(1)), **KEPT) as before:
        first, _ = await ask(before, ASKED)
    messages = [*ASKED, *results(first, "A")]
    async with serving(tmp_path, **KEPT) as after:
        after.api.enqueue(Reply(use(2, "/b")), Reply(use(3, "/c")), Reply("Done."), Reply("Yes."))
        ways = await give_results(after, messages, "B", "C")
        messages.append({"role": "user", "content": "Sure?"})
        _, last = await ask(after, messages)
        assert [*ways, last] == ["replayed", "parked", "parked", "continued"]
        assert len(after.api.requests) == 4
        assert as_asked(messages) == upstream(after.api.requests[3])


@pytest.mark.long
@on_both_backends
async def test_results_that_no_turn_waits_for_reach_claude_with_system_prompt_tools_model_and_bounds(
    tmp_path: Path, backend: str
) -> None:
    more: dict[str, Any] = {"model": "opus", "max_tokens": 1234, "reasoning_effort": "low"}
    tools = {} if backend == "cli" else {"tools": [READ, LIST]}
    function = {"name": "read", "arguments": '{"path": "/a"}'}
    call = {"id": "toolu_1", "type": "function", "function": function}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a pirate."},
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "A"},
    ]
    async with serving(tmp_path, backend=backend) as served:
        for _ in range(3):  # it was chance
            async with Call.open(served.url, chat(messages, **more, **tools)) as call_:
                assert (await call_.answer())[0] == 200
        assert len(served.api.requests) == 3
        for request in served.api.requests:
            assert "You are a pirate." in request.system_text
            assert request.tools == (["mcp__openai__list-files_2", "mcp__openai__read"] if tools else [])
            assert "opus" in request.model
            assert (request.body["max_tokens"], request.body["output_config"]["effort"]) == (1234, "low")


@pytest.mark.long
async def test_results_with_changed_settings_are_replayed(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1)), Reply("Done."))
    answer, _ = await ask(kept, ASKED)
    _, way = await ask(kept, [*ASKED, *results(answer, "A")], max_tokens=1234)
    assert way == "replayed"
    assert kept.api.requests[1].body["max_tokens"] == 1234


@pytest.mark.long
async def test_words_beside_results_come_after_them(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1)), Reply("Done."))
    answer, _ = await ask(kept, ASKED)
    called, result = results(answer, "A")
    block = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result["content"]}
    message = {"role": "user", "content": [{"type": "text", "text": "Here it is."}, block]}
    _, way = await ask(kept, [*ASKED, called, message])
    assert way == "replayed"
    assert upstream(kept.api.requests[1])[2][1] == [("toolu_1", "A"), "Here it is."]


@pytest.mark.long
async def test_after_a_correction_the_turn_goes_on_and_then_the_history_is_exact(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1, "")), Reply(use(2)), Reply("Done."), Reply("Yes."))
    answer, _ = await ask(kept, ASKED)
    messages = [*ASKED, *results(answer, "A")]
    answer, way = await ask(kept, messages)
    assert way == "parked"
    messages += [answer["choices"][0]["message"], {"role": "user", "content": "Sure?"}]
    _, way = await ask(kept, messages)
    assert way == "replayed"
    assert as_asked(messages) == upstream(kept.api.requests[3])


@pytest.mark.parametrize(("id_of_a", "id_of_b"), [("call_0", "call_0"), ("call", "call_0"), ("x_2", "x")])
async def test_calls_with_ids_that_claude_code_would_mix_up_reach_claude_all_the_same(
    kept: Served, id_of_a: str, id_of_b: str
) -> None:
    def turn(ident: str, path: str, text: str) -> list[dict[str, Any]]:
        function = {"name": "read", "arguments": json.dumps({"path": path})}
        call = {"id": ident, "type": "function", "function": function}
        result = {"role": "tool", "tool_call_id": ident, "content": text}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}, result]

    _, way = await ask(kept, [*ASKED, *turn(id_of_a, "/a", "A"), *turn(id_of_b, "/b", "B")])
    assert way == "replayed"
    _, (_, (a,)), (_, (result_of_a,)), (_, (b,)), (_, (result_of_b, *_)) = upstream(kept.api.requests[0])
    assert (a[1:], b[1:]) == (("mcp__openai__read", {"path": "/a"}), ("mcp__openai__read", {"path": "/b"}))
    assert [result_of_a, result_of_b] == [(a[0], "A"), (b[0], "B")]
    assert a[0] != b[0]


async def test_a_number_that_the_client_writes_in_another_way_is_the_same_number(kept: Served) -> None:
    kept.api.enqueue(Reply(ToolUse("mcp__openai__read", id="toolu_1", fragments=['{"path":"/","limit":100.0}'])))
    answer, _ = await ask(kept, ASKED)
    function = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert function["arguments"] == '{"path":"/","limit":100.0}'
    function["arguments"] = '{"limit":100,"path":"/"}'
    _, way = await ask(kept, [*ASKED, *results(answer, "A")])
    assert way == "parked"


@pytest.mark.long
async def test_a_demanded_tool_is_the_only_one_offered_and_an_answer_in_text_is_asked_again_once(kept: Served) -> None:
    kept.api.enqueue(Reply("No."), Reply(use(1)))
    choice = {"type": "function", "function": {"name": "read"}}
    answer, _ = await ask(kept, ASKED, tool_choice=choice)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"]["content"] is None
    assert kept.api.requests[0].tools == ["mcp__openai__read"]
    kept.api.enqueue(Reply("No."), Reply("No again."))
    error = await refused(kept, [{"role": "user", "content": "Other"}], tool_choice="required")
    assert (error["code"], error["x-should-retry"]) == ("tool_choice_not_followed", "false")
    assert len(kept.api.requests) == 4
    for request in (kept.api.requests[0], kept.api.requests[2]):
        assert MUST_CALL in request.system_text
    for again in (kept.api.requests[1], kept.api.requests[3]):
        assert upstream(again)[-1] == ("user", [MUST_CALL])


@pytest.mark.long
@pytest.mark.parametrize("steps", [(), (Thinking("Hm."),)])
async def test_an_answer_of_nothing_where_a_call_is_demanded_is_asked_again_once_too(
    kept: Served, steps: tuple[Thinking, ...]
) -> None:
    silent, last = Reply(*steps), Reply(*steps, before_stop=[Hang()])
    kept.api.enqueue(silent, Reply(use(1)))
    answer, _ = await ask(kept, ASKED, tool_choice="required")
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    kept.api.enqueue(silent, last)
    error = await refused(kept, [{"role": "user", "content": "Other"}], tool_choice="required")
    assert (error["status"], error["code"]) == (502, "tool_choice_not_followed")
    kept.api.enqueue(Reply("No."), last)
    error = await refused(kept, [{"role": "user", "content": "Another"}], tool_choice="required")
    assert error["code"] == "tool_choice_not_followed"
    await until(lambda: all(request.ended.is_set() for request in kept.api.requests), "all have ended")
    assert len(kept.api.requests) == 6


async def test_no_tools_are_offered_when_the_choice_is_none(kept: Served) -> None:
    answer, _ = await ask(kept, ASKED, tool_choice="none")
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert kept.api.requests[0].tools == []


@pytest.mark.long
async def test_one_call_comes_where_parallel_calls_are_off(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1), use(2, "/b")), Reply("Done."))
    first, _ = await ask(kept, ASKED, parallel_tool_calls=False)
    assert [call["id"] for call in first["choices"][0]["message"]["tool_calls"]] == ["toolu_1"]
    second, way = await ask(kept, [*ASKED, *results(first, "A")], parallel_tool_calls=False)
    assert way == "parked"
    assert second["choices"][0]["message"]["content"] == "Done."
    assert set(upstream(kept.api.requests[1])[-1][1]) == {("toolu_1", "A"), ("toolu_2", ONE_CALL_ONLY)}
    # Claude has seen a call that the client never had, so its conversation is not gone on with.
    said = {"role": "assistant", "content": "Done."}
    more = [*ASKED, *results(first, "A"), said, {"role": "user", "content": "Sure?"}]
    _, way = await ask(kept, more, parallel_tool_calls=False)
    assert way == "replayed"
    assert as_asked(more) == upstream(kept.api.requests[2])


async def test_the_text_of_an_answer_that_had_to_be_a_call_is_not_lost_at_the_limit(kept: Served) -> None:
    kept.api.enqueue(Reply("I would like to", stop_reason="max_tokens"))
    answer, _ = await ask(kept, ASKED, tool_choice="required")
    choice = answer["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "I would like to")


async def test_a_character_in_two_halves_is_one_and_the_conversation_goes_on(kept: Served) -> None:
    smile = json.dumps("\N{GRINNING FACE}")[1:-1]
    high, low = json.loads(f'["{smile[:6]}", "{smile[6:]}"]')
    call = ToolUse("mcp__openai__read", id="toolu_1", fragments=(f'{{"path": "/{high}', f'{low}"}}'))
    kept.api.enqueue(Reply(Text("Hi ", high, low, "!"), call), Reply("Done."), Reply("Yes."))
    async with Call.open(kept.url, chat(ASKED, tools=[READ, LIST], stream=True)) as streamed:
        assert await streamed.status() == 200
        said = texts(await streamed.events())
    assert said == ["Hi ", "\N{GRINNING FACE}", "!"]
    function = {"name": "read", "arguments": '{"path": "/\N{GRINNING FACE}"}'}
    calls = [{"id": "toolu_1", "type": "function", "function": function}]
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "A"}
    spoken = {"role": "assistant", "content": "".join(said), "tool_calls": calls}
    messages: list[dict[str, Any]] = [*ASKED, spoken, result]
    answer, way = await ask(kept, messages)
    assert way == "parked"
    messages += [answer["choices"][0]["message"], {"role": "user", "content": "Sure?"}]
    _, way = await ask(kept, messages)
    assert way == "continued"


@pytest.mark.long
async def test_branches_never_meet_a_live_conversation(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply("one"), spares=0, max_idle_sessions=9) as kept:
        await _branch(kept)


async def _branch(kept: Served) -> None:
    answer, _ = await ask(kept, ASKED)
    said = answer["choices"][0]["message"]
    more = {"role": "user", "content": "more"}
    for messages, fields in (
        ([*ASKED, {**said, "content": "edited"}, more], {}),
        ([{"role": "user", "content": "What?"}, said, more], {}),
        ([*ASKED, said, more], {"user": "somebody else"}),
        ([{"role": "system", "content": "Be brief."}, *ASKED, said, more], {}),
        ([*ASKED, said, more], {"model": "claude-opus"}),
        ([*ASKED, said, more], {"tool_choice": "none"}),
    ):
        _, way = await ask(kept, messages, **fields)
        assert way == "replayed", (messages, fields)
    _, way = await ask(kept, [*ASKED, said, more])
    assert way == "continued"


@pytest.mark.long
async def test_results_that_come_twice_are_answered_twice(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1)), Reply("once"), Reply("twice"))
    first, _ = await ask(kept, ASKED)
    messages = [*ASKED, *results(first, "A")]
    _, way = await ask(kept, messages)
    again, way_again = await ask(kept, messages)
    assert (way, way_again) == ("parked", "replayed")
    assert again["choices"][0]["message"]["content"] == "twice"


async def test_a_missing_or_an_unknown_result_is_a_400_that_names_it(kept: Served) -> None:
    kept.api.enqueue(Reply(use(1), use(2)))
    first, _ = await ask(kept, ASKED)
    said, one, two = results(first, "A", "B")
    missing = await refused(kept, [*ASKED, said, one])
    assert (missing["status"], missing["param"]) == (400, "messages[1]")
    unknown = await refused(kept, [*ASKED, said, one, two, {**two, "tool_call_id": "call_9"}])
    assert (unknown["status"], unknown["param"]) == (400, "messages[4].tool_call_id")


@pytest.mark.long
async def test_waiting_conversations_are_bounded_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply("ok"), spares=0, max_idle_sessions=2) as served:
        answers = []
        for number in range(3):
            messages = [{"role": "user", "content": f"conversation {number}"}]
            answer, _ = await ask(served, messages)
            answers.append([*messages, answer["choices"][0]["message"], {"role": "user", "content": "more"}])
        await until(lambda: len(served.processes.marked()) == 2, "the oldest has ended")
        ways = [(await ask(served, messages))[1] for messages in reversed(answers)]
        assert ways == ["continued", "continued", "replayed"]


@pytest.mark.long
async def test_a_conversation_that_is_ended_while_it_waits_asks_claude_nothing_more(tmp_path: Path) -> None:
    async with serving(tmp_path, spares=0, max_idle_sessions=1) as served:
        served.api.enqueue(Reply(use(1)))
        await ask(served, ASKED)
        await ask(served, [{"role": "user", "content": "Something else"}])
        await until(lambda: len(served.processes.marked()) == 1, "the process that waited has ended")
    assert len(served.api.requests) == 2


@pytest.mark.long
async def test_a_dead_idle_process_is_replaced(kept: Served) -> None:
    answer, _ = await ask(kept, ASKED)
    for pid in kept.processes.marked():
        os.kill(pid, signal.SIGKILL)
    await kept.processes.wait_no_claude()
    again, way = await ask(kept, [*ASKED, answer["choices"][0]["message"], {"role": "user", "content": "more"}])
    assert way == "replayed"
    assert again["choices"][0]["message"]["content"] == "ok"


async def test_a_tool_with_alternatives_is_offered_and_its_arguments_are_checked_against_them(kept: Served) -> None:
    cat = {"properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind", "lives"]}
    dog = {"properties": {"kind": {"const": "dog"}, "barks": {"type": "boolean"}}, "required": ["kind", "barks"]}
    pet = {"type": "function", "function": {"name": "pet", "parameters": {"anyOf": [cat, dog]}}}
    wrong = ToolUse("mcp__openai__pet", {"kind": "dog", "lives": 9}, "toolu_1")
    right = ToolUse("mcp__openai__pet", {"kind": "cat", "lives": 9}, "toolu_2")
    kept.api.enqueue(Reply(wrong), Reply(right))
    async with Call.open(kept.url, chat(ASKED, tools=[pet])) as call:
        status, answer = await call.answer()
    assert status == 200, answer
    assert [call["id"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["toolu_2"]
    (received,) = kept.api.requests[0].body["tools"]
    assert received["input_schema"]["properties"].keys() == {"kind", "lives", "barks"}


@pytest.mark.long
@pytest.mark.parametrize("way", ["parked", "replayed"])
async def test_error_result_is_marked_as_an_error(kept: Served, way: str) -> None:
    kept.api.enqueue(Reply(use(1)), Reply("Done."))
    answer, _ = await ask(kept, ASKED)
    block = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "No such file.", "is_error": True}
    said, _ = results(answer, "")
    more = [] if way == "parked" else [{"type": "text", "text": "So?"}]
    _, taken = await ask(kept, [*ASKED, said, {"role": "user", "content": [block, *more]}])
    assert taken == way
    blocks = [block for message in kept.api.requests[1].messages for block in message["content"]]
    (received,) = [block for block in blocks if isinstance(block, dict) and block["type"] == "tool_result"]
    assert (received["tool_use_id"], received["is_error"]) == ("toolu_1", True)
