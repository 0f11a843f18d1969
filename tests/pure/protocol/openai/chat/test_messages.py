"""How messages become a system prompt, turns and the prompt to answer."""

import json
from collections.abc import Sequence
from itertools import groupby, pairwise, takewhile
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.chat.messages import read_messages
from claude_openai.protocol.turn.blocks import Block, Message, TextBlock, ToolResultBlock, ToolUseBlock
from claude_openai.protocol.turn.history import Transcript
from claude_openai.protocol.wire.turns import NO_RESULT, reminder
from tests.blocks import result_block
from tests.calls import Word


def say(role: str, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def text_of(block: Block) -> str:
    assert isinstance(block, TextBlock)
    return block.text


def plain(turn: Message) -> tuple[str, list[str]]:
    return turn.role, [text_of(block) for block in turn.blocks]


def spoken(transcript: Transcript) -> list[tuple[str, list[str]]]:
    return [plain(turn) for turn in (*transcript.turns, transcript.prompt)]


def read(messages: Sequence[Any]) -> Transcript:
    return read_messages(messages, Budget())


def refusal_of(*messages: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        read(messages)
    assert raised.value.status == 400
    return raised.value.code, raised.value.param


def contents() -> st.SearchStrategy[Any]:
    parts = st.lists(st.builds(lambda text: {"type": "text", "text": text}, st.text()))
    return st.one_of(st.none(), st.text(), parts)


def texts_of(message: dict[str, Any]) -> list[str]:
    content = message["content"] or []
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return [text for text in texts if text.strip()]


SIDES = {"system": "user", "developer": "user", "user": "user", "assistant": "assistant"}
MESSAGES = st.builds(say, st.sampled_from(["system", "developer", "user", "assistant"]), contents())
LAST = st.builds(say, st.just("user"), st.text().filter(str.strip))


@given(st.lists(MESSAGES), LAST)
def test_every_visible_text_arrives_once_in_order_and_nothing_else_does(
    before: list[dict[str, Any]], last: dict[str, Any]
) -> None:
    messages = [*before, last]
    transcript = read(messages)
    instructions = list(takewhile(lambda m: m["role"] in ("system", "developer"), messages))
    expected = [
        (SIDES[m["role"]], text, m["role"] in ("system", "developer"))
        for m in messages[len(instructions) :]
        for text in texts_of(m)
    ]
    # A turn that is the system's alone is asked as it is.
    turns = [list(turn) for _, turn in groupby(expected, key=itemgetter(0))]
    assert spoken(transcript) == [
        (turn[0][0], [reminder(t).text if s and not all(s for *_, s in turn) else t for _, t, s in turn])
        for turn in turns
    ]
    assert transcript.system == "\n\n".join(text for m in instructions for text in texts_of(m))


@given(st.lists(MESSAGES), LAST)
def test_turns_alternate_have_text_and_end_with_the_user(before: list[dict[str, Any]], last: dict[str, Any]) -> None:
    transcript = read([*before, last])
    roles = [role for role, _ in spoken(transcript)]
    assert all(first != second for first, second in pairwise(roles))
    assert transcript.prompt.role == "user"
    assert all(texts for _, texts in spoken(transcript))


def test_a_single_question_has_no_history_and_no_system_prompt() -> None:
    transcript = read([say("user", "hi")])
    assert (transcript.system, transcript.turns) == ("", ())
    assert plain(transcript.prompt) == ("user", ["hi"])


def test_few_shot_turns_come_before_the_prompt_and_a_trailing_system_message_is_a_part_of_it() -> None:
    transcript = read(
        [
            say("system", "Be brief."),
            say("user", "2+2?"),
            say("assistant", "4"),
            say("user", "3+3?"),
            say("developer", "Digits only."),
        ]
    )
    assert transcript.system == "Be brief."
    assert [plain(turn) for turn in transcript.turns] == [("user", ["2+2?"]), ("assistant", ["4"])]
    assert plain(transcript.prompt) == ("user", ["3+3?", "<system-reminder>\nDigits only.\n</system-reminder>"])


def test_adjacent_messages_of_one_role_are_one_turn_with_a_block_each() -> None:
    transcript = read([say("user", "a"), say("system", "s"), say("user", "b\n"), say("user", " c")])
    assert spoken(transcript) == [("user", ["a", reminder("s").text, "b\n", " c"])]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_conversation_that_the_system_ends_is_answered(role: str) -> None:
    transcript = read([say("user", "a"), say("assistant", "b"), say(role, "Answer with the next role.")])
    assert plain(transcript.prompt) == ("user", ["Answer with the next role."])


def test_messages_without_text_are_left_out_and_their_neighbours_become_one_turn() -> None:
    transcript = read([say("user", "a"), say("assistant", ""), say("user", " "), say("user", "b")])
    assert spoken(transcript) == [("user", ["a", "b"])]


def test_an_opening_greeting_of_the_assistant_is_kept_and_no_text_is_invented() -> None:
    assert spoken(read([say("assistant", "Hello!"), say("user", "hi")])) == [
        ("assistant", ["Hello!"]),
        ("user", ["hi"]),
    ]


def test_an_empty_assistant_message_at_the_end_asks_for_nothing_to_be_continued() -> None:
    assert spoken(read([say("user", "hi"), say("assistant", "")])) == [("user", ["hi"])]


def test_unknown_keys_of_a_message_are_ignored() -> None:
    assert spoken(read([say("user", "hi", tool_calls=7, tool_call_id=7, id="m1")])) == [("user", ["hi"])]


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        ([], "invalid_value", "messages"),
        ([say("system", " ")], "invalid_value", "messages"),
        ([say("assistant", None)], "invalid_value", "messages"),
        ([say("user", "hi"), say("assistant", "So")], "unsupported_value", "messages[1]"),
        ([say("assistant", "So"), say("system", " ")], "invalid_value", "messages[1].content"),
        ([say("user", "")], "invalid_value", "messages[0].content"),
        ([{"role": "user"}], "invalid_value", "messages[0].content"),
        ([say("user", "a"), say("assistant", "b"), say("user", [])], "invalid_value", "messages[2].content"),
        ([say("user", "a"), say("assistant", "b"), say("user", " \n")], "invalid_value", "messages[2].content"),
        (["hi"], "invalid_type", "messages[0]"),
        ([say("user", "a"), None], "invalid_type", "messages[1]"),
        ([{}], "missing_required_parameter", "messages[0].role"),
        ([say("user", "a"), {"role": 7}], "invalid_type", "messages[1].role"),
        ([say("narrator", "a")], "invalid_value", "messages[0].role"),
        ([say("tool", "42", tool_call_id="call_1")], "invalid_value", "messages[0].tool_call_id"),
        ([say("tool", "42")], "missing_required_parameter", "messages[0].tool_call_id"),
        ([say("function", "42", name="f")], "invalid_value", "messages[0].role"),
        ([say("assistant", tool_calls=[{}]), say("user", "a")], "invalid_type", "messages[0].tool_calls[0].function"),
        (
            [say("system", [{"type": "image_url"}]), say("user", "a")],
            "unsupported_value",
            "messages[0].content[0].type",
        ),
    ],
)
def test_a_conversation_that_cannot_be_answered_is_refused_at_its_place(
    messages: list[Any], code: str, param: str
) -> None:
    assert refusal_of(*messages) == (code, param)


def calling(*ids: str, content: Any = None) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "read", "arguments": "{}"}} for i in ids]
    return say("assistant", content, tool_calls=calls)


def result(call_id: str, content: Any = "42") -> dict[str, Any]:
    return say("tool", content, tool_call_id=call_id)


def use(call_id: str) -> ToolUseBlock:
    return ToolUseBlock(call_id, "read", "{}")


def given_back(call_id: str, text: str = "42") -> ToolResultBlock:
    return result_block(call_id, text)


def test_a_call_and_its_result_are_a_turn_each_and_the_results_are_the_prompt() -> None:
    transcript = read([say("user", "hi"), calling("a", "b", content="Let me look."), result("a"), result("b")])
    assert transcript.turns == (
        Message("user", (TextBlock("hi"),)),
        Message("assistant", (TextBlock("Let me look."), use("a"), use("b"))),
    )
    assert transcript.prompt == Message("user", (given_back("a"), given_back("b")))


@pytest.mark.parametrize("content", [None, "", []])
def test_an_assistant_that_only_calls_is_a_turn_all_the_same(content: Any) -> None:
    transcript = read([say("user", "hi"), calling("a", content=content), result("a")])
    assert transcript.turns[1] == Message("assistant", (use("a"),))


def test_a_result_without_text_is_still_a_result() -> None:
    assert read([say("user", "hi"), calling("a"), result("a", "")]).prompt.blocks == (result_block("a"),)


def test_results_come_in_the_clients_order_and_what_the_user_adds_comes_after_them() -> None:
    messages = [say("user", "hi"), calling("a", "b"), result("b", "2"), result("a", "1"), say("user", "Go on.")]
    prompt = read(messages).prompt
    assert prompt.blocks == (given_back("b", "2"), given_back("a", "1"), TextBlock("Go on."))


@pytest.mark.parametrize("role", ["system", "user"])
@pytest.mark.parametrize("place", [2, 3, 4])
def test_what_stands_between_a_call_and_its_results_comes_after_them(role: str, place: int) -> None:
    messages = [say("user", "hi"), calling("a", "b"), result("a"), result("b")]
    messages.insert(place, say(role, "s"))
    said = TextBlock("s") if role == "user" else reminder("s")
    assert read(messages).prompt.blocks == (given_back("a"), given_back("b"), said)


def test_assistant_text_between_call_and_result_is_of_the_same_turn() -> None:
    transcript = read(
        [say("user", "hi"), calling("a"), say("assistant", "I look."), calling("b"), result("a"), result("b")]
    )
    assert transcript.turns[1] == Message("assistant", (TextBlock("I look."), use("a"), use("b")))
    assert transcript.prompt.blocks == (given_back("a"), given_back("b"))


def test_a_result_that_comes_after_other_turns_goes_behind_its_call() -> None:
    late = [calling("a"), say("user", "Wait."), say("assistant", "I wait."), result("a"), say("user", "And?")]
    transcript = read([say("user", "hi"), *late])
    assert transcript.turns[2:] == (
        Message("user", (given_back("a"), TextBlock("Wait."))),
        Message("assistant", (TextBlock("I wait."),)),
    )
    assert transcript.prompt == Message("user", (TextBlock("And?"),))


def test_calls_without_a_result_get_an_error() -> None:
    aborted = [calling("a", "b"), result("b"), say("user", "Stop.")]
    nothing = ToolResultBlock("a", NO_RESULT, is_error=True)
    assert read([say("user", "hi"), *aborted]).prompt.blocks == (given_back("b"), nothing, TextBlock("Stop."))
    turns = read([say("user", "hi"), *aborted, say("assistant", "I stop."), say("user", "Good.")]).turns
    assert turns[2].blocks == (given_back("b"), nothing, TextBlock("Stop."))
    again = read(
        [say("user", "hi"), calling("a"), say("system", "The client was restarted."), calling("c"), result("c")]
    )
    assert again.turns[2].blocks == (nothing, reminder("The client was restarted."))


@pytest.mark.parametrize("again", [[result("a")], [say("user", "Hm."), result("a")], [result("b"), result("a")]])
def test_the_same_result_twice_is_one(again: list[Any]) -> None:
    messages = [say("user", "hi"), calling("a", "b"), result("a"), result("b")]
    prompt = read([*messages, *again]).prompt
    assert [block for block in prompt.blocks if isinstance(block, ToolResultBlock)] == [
        given_back("a"),
        given_back("b"),
    ]


def test_the_same_call_in_two_forms_or_messages_is_one() -> None:
    use_part = {"type": "tool_use", "id": "a", "name": "read", "input": {}}
    both = say("assistant", [use_part], tool_calls=calling("a")["tool_calls"])
    for said in ([both], [calling("a"), calling("a")]):
        assert read([say("user", "hi"), *said, result("a")]).turns[1] == Message("assistant", (use("a"),))
    within = read([say("user", "hi"), calling("a", "a"), result("a", "1"), result("a", "2")])
    assert within.prompt.blocks == (given_back("a", "1"), given_back("a", "2"))


def test_an_id_that_is_used_again_is_of_the_last_call() -> None:
    transcript = read([say("user", "hi"), calling("a"), result("a", "1"), calling("a"), result("a", "2")])
    assert transcript.turns[2].blocks == (given_back("a", "1"),)
    assert transcript.prompt.blocks == (given_back("a", "2"),)


@pytest.mark.parametrize("empty", [say("user", ""), say("user", None), say("user", []), say("assistant", "")])
def test_an_empty_message_is_left_out_where_something_is_there_to_be_answered(empty: dict[str, Any]) -> None:
    assert spoken(read([say("user", "hi"), empty])) == [("user", ["hi"])]
    assert read([say("user", "hi"), calling("a"), result("a"), empty]).prompt.blocks == (given_back("a"),)
    assert spoken(read([say("user", "a"), say("assistant", "b"), empty, say("user", "c")])) == [
        ("user", ["a"]),
        ("assistant", ["b"]),
        ("user", ["c"]),
    ]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([calling("a")], "messages[1]"),
        ([calling("a"), say("assistant", "And?")], "messages[2]"),
        ([calling("a", "b"), result("b")], "messages[1]"),
        ([calling("a", "b"), result("b"), say("user", " ")], "messages[1]"),
        ([calling("a"), result("b")], "messages[2].tool_call_id"),
        ([result("a"), calling("a")], "messages[1].tool_call_id"),
        ([calling("a"), result("a"), result("a", "other")], "messages[3].tool_call_id"),
        ([calling("a"), result("a"), calling("b"), result("a")], "messages[3]"),
        ([calling("a"), result("a"), say("user", "And?"), result("a", "")], "messages[4].tool_call_id"),
    ],
)
def test_calls_and_results_that_do_not_belong_together_are_refused(messages: list[Any], param: str) -> None:
    assert refusal_of(say("user", "hi"), *messages) == ("invalid_value", param)


def test_results_in_any_order_are_found_without_a_look_at_each_call() -> None:
    ids = [Word(f"call_{number}") for number in range(2000)]
    Word.compared = 0
    transcript = read([say("user", "hi"), calling(*ids), *(result(Word(each)) for each in reversed(ids))])
    assert [block.call_id for block in transcript.prompt.blocks if isinstance(block, ToolResultBlock)] == ids[::-1]
    assert Word.compared < 10 * len(ids)


def test_calls_in_a_message_each_are_read_without_a_look_at_each_other() -> None:
    hashed = 0

    class Counted(str):
        def __hash__(self) -> int:
            nonlocal hashed
            hashed += 1
            return super().__hash__()

    ids = [Counted(f"call_{number}") for number in range(1000)]
    read([say("user", "hi"), *(calling(each) for each in ids), *(result(each) for each in ids)])
    assert hashed < 50 * len(ids)


def test_of_many_calls_without_results_only_the_first_are_named() -> None:
    with pytest.raises(BadRequest, match=r"'call_9' and 4990 others\.") as raised:
        read([say("user", "hi"), calling(*(f"call_{number}" for number in range(5000)))])
    assert len(raised.value.message) < 1000


def test_calls_without_results_are_refused_in_openais_words_with_their_ids() -> None:
    with pytest.raises(BadRequest, match="must be followed by the result of each") as raised:
        read([say("user", "hi"), calling("call_1", "call_2", "call_3"), result("call_2")])
    assert "'call_1', 'call_3'" in raised.value.message


@st.composite
def rounds_of_calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A conversation with any number of rounds of calls, the results of each in any order; ids are used only once."""
    messages = [draw(LAST)]
    for number in range(draw(st.integers(1, 4))):
        ids = [f"call_{number}_{index}" for index in range(draw(st.integers(1, 4)))]
        messages.append(calling(*ids, content=draw(contents())))
        messages.extend(result(call_id, draw(st.text())) for call_id in draw(st.permutations(ids)))
        messages.extend(
            draw(st.lists(st.builds(say, st.sampled_from(["system", "assistant"]), contents()), max_size=2))
        )
    return [*messages, draw(LAST)]


@given(rounds_of_calls())
def test_every_call_and_every_result_arrives_once_in_order(messages: list[dict[str, Any]]) -> None:
    transcript = read(messages)
    turns = (*transcript.turns, transcript.prompt)
    blocks = [block for turn in turns for block in turn.blocks]
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert [block.id for block in blocks if isinstance(block, ToolUseBlock)] == calls
    answered = [(message["tool_call_id"], message["content"]) for message in messages if message["role"] == "tool"]
    results = [block for block in blocks if isinstance(block, ToolResultBlock)]
    assert [
        (block.call_id, "".join(part.text for part in block.parts if isinstance(part, TextBlock))) for block in results
    ] == answered
    assert all(first.role != second.role for first, second in pairwise(turns))
    for before, turn in pairwise(turns):
        # Claude's API wants the results of a turn's calls in the very next turn, before any text.
        asked = {block.id for block in before.blocks if isinstance(block, ToolUseBlock)}
        given_first = [block.call_id for block in turn.blocks[: len(asked)] if isinstance(block, ToolResultBlock)]
        assert set(given_first) == asked


def test_equal_calls_are_equal_however_their_arguments_are_spelled() -> None:
    def history(arguments: str) -> tuple[Message, ...]:
        call = {"id": "a", "type": "function", "function": {"name": "read", "arguments": arguments}}
        return read([say("user", "hi"), say("assistant", "", tool_calls=[call]), result("a")]).turns

    arguments = {"path": "/é", "limit": 3}
    assert history(json.dumps(arguments)) == history('{ "limit":3,"path":"/é"}')
    assert history(json.dumps(arguments)) != history('{"limit":4,"path":"/é"}')


def test_a_named_user_is_named_to_claude() -> None:
    said = [say("user", "Hi", name="ann"), say("user", "Ho", name="bob"), say("user", "Hm", name=" "), say("user", "x")]
    transcript = read(said)
    assert [text_of(block) for block in transcript.prompt.blocks] == ["ann:", "Hi", "bob:", "Ho", "Hm", "x"]
    assert read([say("user", "", name="ann"), say("user", "x")]).prompt.text == "x"
    with pytest.raises(BadRequest) as raised:
        read([say("user", "Hi", name=7)])
    assert raised.value.param == "messages[0].name"


def test_where_only_the_system_speaks_its_last_text_is_asked() -> None:
    transcript = read([say("system", "Be brief."), say("developer", "Say hello.")])
    assert (transcript.system, plain(transcript.prompt)) == ("Be brief.", ("user", ["Say hello."]))
    assert read([say("system", "Say hello.")]).system == ""


def in_a_message(call_id: str, *more: Any) -> dict[str, Any]:
    return say("user", [*more, {"type": "tool_result", "tool_use_id": call_id, "content": call_id}])


def called(*ids: str) -> dict[str, Any]:
    return say("assistant", [{"type": "tool_use", "id": each, "name": "f", "input": {}} for each in ids])


def test_results_in_the_form_of_claudes_api_may_come_in_several_messages_and_stand_first() -> None:
    text = {"type": "text", "text": "And now?"}
    prompt = read([say("user", "hi"), called("a", "b"), in_a_message("a", text), in_a_message("b")]).prompt
    assert prompt.blocks == (result_block("a", "a"), result_block("b", "b"), TextBlock("And now?"))


def test_a_result_in_the_form_of_claudes_api_is_missed_too() -> None:
    assert refusal_of(say("user", "hi"), called("a", "b"), in_a_message("a")) == ("invalid_value", "messages[1]")


def test_late_results_that_end_a_conversation_are_answered_with_their_calls_before_them() -> None:
    late = [called("a", "b", "c"), in_a_message("a"), say("assistant", "hm"), in_a_message("c"), in_a_message("b")]
    transcript = read([say("user", "hi"), *late])
    assert [(turn.role, list(map(name_of, turn.blocks))) for turn in (*transcript.turns, transcript.prompt)] == [
        *(("user", ["hi"]), ("assistant", ["call a"]), ("user", ["result a"])),
        *(("assistant", ["hm", "call c", "call b"]), ("user", ["result c", "result b"])),
    ]


def test_a_turn_whose_only_call_moves_to_the_end_is_no_turn_any_more() -> None:
    late = [called("a"), say("user", "Wait."), say("assistant", "I wait."), in_a_message("a")]
    transcript = read([say("user", "hi"), *late])
    assert [(turn.role, list(map(name_of, turn.blocks))) for turn in (*transcript.turns, transcript.prompt)] == [
        *(("user", ["hi", "Wait."]), ("assistant", ["I wait.", "call a"]), ("user", ["result a"])),
    ]


def test_a_late_result_keeps_its_place_where_there_is_something_else_to_answer() -> None:
    late = [called("a", "b"), in_a_message("a"), called("c"), in_a_message("b"), in_a_message("c")]
    transcript = read([say("user", "hi"), *late])
    assert [(turn.role, list(map(name_of, turn.blocks))) for turn in (*transcript.turns, transcript.prompt)] == [
        *(("user", ["hi"]), ("assistant", ["call a", "call b"]), ("user", ["result a", "result b"])),
        *(("assistant", ["call c"]), ("user", ["result c"])),
    ]


def test_calls_of_one_id_keep_their_results_when_a_late_one_moves() -> None:
    first, second = ({"type": "tool_use", "id": "x", "name": "f", "input": {"n": number}} for number in (1, 2))
    given = [{"type": "tool_result", "tool_use_id": "x", "content": text} for text in ("of the first", "of the second")]
    transcript = read(
        [
            *(say("user", "hi"), say("assistant", [first, second]), say("user", given[:1])),
            *(say("assistant", "hm"), say("user", given[1:])),
        ]
    )
    calls = [block for turn in transcript.turns for block in turn.blocks if isinstance(block, ToolUseBlock)]
    results = [
        block.parts
        for turn in (*transcript.turns, transcript.prompt)
        for block in turn.blocks
        if isinstance(block, ToolResultBlock)
    ]
    assert [call.arguments for call in calls] == ['{"n":1}', '{"n":2}']
    assert results == [(TextBlock("of the first"),), (TextBlock("of the second"),)]


def name_of(block: Block) -> str:
    match block:
        case ToolUseBlock():
            return f"call {block.id}"
        case ToolResultBlock():
            return f"result {block.call_id}"
    return text_of(block)
