"""What a message's content becomes, and how what cannot be carried is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import BadRequest
from claude_openai.protocol.content import assistant_blocks, content_blocks
from claude_openai.protocol.refusals import SHOWN_CHARS, shorten

PATH = "messages[3]"


def user_texts(content: Any) -> list[str]:
    return [block.text for block in content_blocks({"role": "user", "content": content}, PATH)]


def assistant_texts(**fields: Any) -> list[str]:
    return [block.text for block in assistant_blocks({"role": "assistant", **fields}, PATH)]


def refusal_of(content: Any, role: str = "user") -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        content_blocks({"role": role, "content": content}, PATH)
    assert raised.value.status == 400
    return raised.value.code, raised.value.param


@given(st.text())
def test_a_string_is_one_block_verbatim_unless_it_is_blank(text: str) -> None:
    assert user_texts(text) == ([text] if text.strip() else [])


@given(st.lists(st.text()))
def test_each_text_part_is_a_block_in_order_and_blank_ones_are_left_out(texts: list[str]) -> None:
    parts = [{"type": "text", "text": text} for text in texts]
    assert user_texts(parts) == [text for text in texts if text.strip()]


@pytest.mark.parametrize("content", [None, "", " \n\t", [], [{"type": "text", "text": ""}]])
def test_content_without_visible_text_is_no_block(content: Any) -> None:
    assert user_texts(content) == []


def test_absent_content_is_no_block() -> None:
    assert content_blocks({"role": "user"}, PATH) == ()


def test_space_around_a_text_is_kept() -> None:
    assert user_texts("\n  hi \n") == ["\n  hi \n"]


@pytest.mark.parametrize("kind", ["input_text", "output_text"])
def test_text_parts_named_as_in_the_responses_api_are_taken(kind: str) -> None:
    assert user_texts([{"type": kind, "text": "hi"}]) == ["hi"]


def test_unknown_keys_of_a_part_are_ignored() -> None:
    assert user_texts([{"type": "text", "text": "hi", "prompt_cache_breakpoint": {}, "x": 1}]) == ["hi"]


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (7, "invalid_type", "messages[3].content"),
        (True, "invalid_type", "messages[3].content"),
        ({"type": "text", "text": "hi"}, "invalid_type", "messages[3].content"),
        (["hi"], "invalid_type", "messages[3].content[0]"),
        ([None], "invalid_type", "messages[3].content[0]"),
        ([{}], "missing_required_parameter", "messages[3].content[0].type"),
        ([{"type": 1}], "invalid_type", "messages[3].content[0].type"),
        ([{"type": "text"}], "missing_required_parameter", "messages[3].content[0].text"),
        ([{"type": "text", "text": None}], "missing_required_parameter", "messages[3].content[0].text"),
        ([{"type": "text", "text": ["a"]}], "invalid_type", "messages[3].content[0].text"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": 1}], "invalid_type", "messages[3].content[1].text"),
        ([{"type": "image_url", "image_url": {"url": "data:"}}], "unsupported_value", "messages[3].content[0].type"),
        ([{"type": "input_audio", "input_audio": {}}], "unsupported_value", "messages[3].content[0].type"),
        ([{"type": "file", "file": {}}], "unsupported_value", "messages[3].content[0].type"),
        ([{"type": "hologram"}], "unsupported_value", "messages[3].content[0].type"),
        ([{"type": "refusal", "refusal": "no"}], "unsupported_value", "messages[3].content[0].type"),
    ],
)
def test_content_that_cannot_be_carried_is_refused_at_its_exact_place(content: Any, code: str, param: str) -> None:
    assert refusal_of(content) == (code, param)


def test_an_assistant_may_have_refusal_parts() -> None:
    parts = [{"type": "text", "text": "well"}, {"type": "refusal", "refusal": "no"}]
    assert assistant_texts(content=parts) == ["well", "no"]


def test_a_refusal_part_without_its_text_is_refused() -> None:
    place = "messages[3].content[0].refusal"
    assert refusal_of([{"type": "refusal", "text": "no"}], "assistant") == ("missing_required_parameter", place)


@pytest.mark.parametrize("content", [None, "", [], " "])
def test_a_refusal_stands_in_for_an_assistant_without_text(content: Any) -> None:
    assert assistant_texts(content=content, refusal="I will not.") == ["I will not."]


def test_a_refusal_beside_text_is_ignored() -> None:
    assert assistant_texts(content="hi", refusal="no") == ["hi"]
    assert assistant_texts(content="hi", refusal=7) == ["hi"]


def test_what_clients_echo_on_an_assistant_message_is_ignored() -> None:
    echoed = {
        "name": "bot",
        "reasoning_content": "hmm",
        "reasoning": "hmm",
        "refusal": None,
        "audio": None,
        "annotations": [{"type": "url_citation"}],
        "tool_calls": [],
        "function_call": None,
        "x": {"y": 1},
    }
    assert assistant_texts(content="hi", **echoed) == ["hi"]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"tool_calls": [{"id": "call_1"}]}, "unsupported_parameter", "messages[3].tool_calls"),
        ({"tool_calls": {}}, "invalid_type", "messages[3].tool_calls"),
        ({"function_call": {"name": "f"}}, "unsupported_parameter", "messages[3].function_call"),
        ({"audio": {"id": "audio_1"}}, "unsupported_parameter", "messages[3].audio"),
        ({"refusal": 7}, "invalid_type", "messages[3].refusal"),
    ],
)
def test_what_an_assistant_did_without_text_is_never_dropped_in_silence(
    fields: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        assistant_texts(content=None, **fields)
    assert (raised.value.code, raised.value.param) == (code, param)


@given(st.one_of(st.text(st.characters()), st.integers(), st.floats()))
def test_a_shown_value_is_short_and_one_printable_line(value: str | float) -> None:
    shown = shorten(value)
    assert len(shown) <= SHOWN_CHARS + 3
    assert shown.isprintable()
