"""How messages become a system prompt, turns and the prompt to answer."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import BadRequest
from claude_openai.protocol.history import Transcript, Turn, read_messages


def say(role: str, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def plain(turn: Turn) -> tuple[str, list[str]]:
    return turn.role, [block.text for block in turn.blocks]


def spoken(transcript: Transcript) -> list[tuple[str, list[str]]]:
    return [plain(turn) for turn in (*transcript.turns, transcript.prompt)]


def refusal_of(*messages: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        read_messages(messages)
    assert raised.value.status == 400
    return raised.value.code, raised.value.param


def contents() -> st.SearchStrategy[Any]:
    parts = st.lists(st.builds(lambda text: {"type": "text", "text": text}, st.text()))
    return st.one_of(st.none(), st.text(), parts)


def texts_of(message: dict[str, Any]) -> list[str]:
    content = message["content"] or []
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return [text for text in texts if text.strip()]


MESSAGES = st.builds(say, st.sampled_from(["system", "developer", "user", "assistant"]), contents())
LAST = st.builds(say, st.just("user"), st.text().filter(str.strip))


@given(st.lists(MESSAGES), LAST)
def test_every_visible_text_arrives_once_in_order_and_nothing_else_does(
    before: list[dict[str, Any]], last: dict[str, Any]
) -> None:
    messages = [*before, last]
    transcript = read_messages(messages)
    expected = [(m["role"], text) for m in messages if m["role"] in ("user", "assistant") for text in texts_of(m)]
    assert [(role, text) for role, texts in spoken(transcript) for text in texts] == expected
    instructions = [text for m in messages if m["role"] in ("system", "developer") for text in texts_of(m)]
    assert transcript.system == "\n\n".join(instructions)


@given(st.lists(MESSAGES), LAST)
def test_turns_alternate_have_text_and_end_with_the_user(before: list[dict[str, Any]], last: dict[str, Any]) -> None:
    transcript = read_messages([*before, last])
    roles = [role for role, _ in spoken(transcript)]
    assert all(first != second for first, second in pairwise(roles))
    assert transcript.prompt.role == "user"
    assert all(texts for _, texts in spoken(transcript))


def test_a_single_question_has_no_history_and_no_system_prompt() -> None:
    transcript = read_messages([say("user", "hi")])
    assert (transcript.system, transcript.turns) == ("", ())
    assert plain(transcript.prompt) == ("user", ["hi"])


def test_few_shot_turns_come_before_the_prompt_and_a_trailing_system_message_joins_the_others() -> None:
    transcript = read_messages(
        [
            say("system", "Be brief."),
            say("user", "2+2?"),
            say("assistant", "4"),
            say("user", "3+3?"),
            say("developer", "Digits only."),
        ]
    )
    assert transcript.system == "Be brief.\n\nDigits only."
    assert [plain(turn) for turn in transcript.turns] == [("user", ["2+2?"]), ("assistant", ["4"])]
    assert plain(transcript.prompt) == ("user", ["3+3?"])


def test_adjacent_messages_of_one_role_are_one_turn_with_a_block_each() -> None:
    transcript = read_messages([say("user", "a"), say("system", "s"), say("user", "b\n"), say("user", " c")])
    assert spoken(transcript) == [("user", ["a", "b\n", " c"])]


def test_messages_without_text_are_left_out_and_their_neighbours_become_one_turn() -> None:
    transcript = read_messages([say("user", "a"), say("assistant", ""), say("user", " "), say("user", "b")])
    assert spoken(transcript) == [("user", ["a", "b"])]


def test_an_opening_greeting_of_the_assistant_is_kept_and_no_text_is_invented() -> None:
    assert spoken(read_messages([say("assistant", "Hello!"), say("user", "hi")])) == [
        ("assistant", ["Hello!"]),
        ("user", ["hi"]),
    ]


def test_an_empty_assistant_message_at_the_end_asks_for_nothing_to_be_continued() -> None:
    assert spoken(read_messages([say("user", "hi"), say("assistant", "")])) == [("user", ["hi"])]


def test_unknown_keys_of_a_message_are_ignored() -> None:
    assert spoken(read_messages([say("user", "hi", name="ann", tool_calls=7, id="m1")])) == [("user", ["hi"])]


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        ([], "invalid_value", "messages"),
        ([say("system", "s")], "invalid_value", "messages"),
        ([say("assistant", None)], "invalid_value", "messages"),
        ([say("user", "hi"), say("assistant", "So")], "unsupported_value", "messages[1]"),
        ([say("assistant", "So"), say("system", "s")], "unsupported_value", "messages[0]"),
        ([say("user", "")], "invalid_value", "messages[0].content"),
        ([{"role": "user"}], "invalid_value", "messages[0].content"),
        ([say("user", "a"), say("user", [])], "invalid_value", "messages[1].content"),
        ([say("user", "a"), say("user", " \n"), say("system", "s")], "invalid_value", "messages[1].content"),
        (["hi"], "invalid_type", "messages[0]"),
        ([say("user", "a"), None], "invalid_type", "messages[1]"),
        ([{}], "missing_required_parameter", "messages[0].role"),
        ([say("user", "a"), {"role": 7}], "invalid_type", "messages[1].role"),
        ([say("narrator", "a")], "invalid_value", "messages[0].role"),
        ([say("tool", "42", tool_call_id="call_1")], "unsupported_value", "messages[0].role"),
        ([say("function", "42", name="f")], "unsupported_value", "messages[0].role"),
        ([say("assistant", tool_calls=[{}]), say("user", "a")], "unsupported_parameter", "messages[0].tool_calls"),
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
