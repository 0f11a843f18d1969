"""What a message's content becomes, and how what cannot be carried is named."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.limits.quoting import SHOWN_CHARS, shorten
from claude_openai.protocol.openai.content import (
    assistant_blocks,
    tool_result_block,
    tool_use_blocks,
    user_blocks,
)
from claude_openai.protocol.turn.blocks import Block, TextBlock, ToolUseBlock, canonical_arguments
from tests.blocks import result_block

PATH = "messages[3]"


def user_texts(content: Any) -> list[str]:
    return _texts(user_blocks({"role": "user", "content": content}, PATH))


def assistant_texts(**fields: Any) -> list[str]:
    return _texts(assistant_blocks({"role": "assistant", **fields}, PATH))


def _texts(blocks: Sequence[Block]) -> list[str]:
    assert all(isinstance(block, TextBlock) for block in blocks)
    return [block.text for block in blocks if isinstance(block, TextBlock)]


def refusal_of(content: Any, role: str = "user") -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        (assistant_blocks if role == "assistant" else user_blocks)({"role": role, "content": content}, PATH)
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
    assert user_blocks({"role": "user"}, PATH) == ()


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
        (
            [{"type": "image_url", "image_url": {"url": "data:"}}],
            "invalid_value",
            "messages[3].content[0].image_url.url",
        ),
        ([{"type": "input_audio", "input_audio": {}}], "unsupported_value", "messages[3].content[0].type"),
        ([{"type": "file", "file": {}}], "missing_required_parameter", "messages[3].content[0].file.file_data"),
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
        "function_call": None,
        "x": {"y": 1},
    }
    assert assistant_texts(content="hi", **echoed) == ["hi"]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
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


def call(arguments: Any = "{}", *, call_id: Any = "call_1", name: Any = "read", **more: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def uses(*calls: Any) -> tuple[ToolUseBlock, ...]:
    return tool_use_blocks({"role": "assistant", "content": None, "tool_calls": list(calls)}, PATH, Budget())


@pytest.mark.parametrize("message", [{}, {"tool_calls": None}, {"tool_calls": []}])
def test_an_assistant_without_calls_has_none(message: dict[str, Any]) -> None:
    assert tool_use_blocks({"role": "assistant", **message}, PATH, Budget()) == ()


def test_calls_keep_their_order_ids_and_names_and_need_no_type() -> None:
    untyped = call(call_id="b", name="glob")
    del untyped["type"]
    blocks = uses(call(call_id="a"), untyped, call(call_id="c", index=2, extra_content={"google": {}}))
    assert blocks == (ToolUseBlock("a", "read", "{}"), ToolUseBlock("b", "glob", "{}"), ToolUseBlock("c", "read", "{}"))


JSON_OBJECTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
)


@given(JSON_OBJECTS, st.sampled_from([None, 2]), st.booleans())
def test_arguments_are_the_same_however_the_client_spells_them(
    arguments: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    backwards = dict(reversed(arguments.items()))
    (block,) = uses(call(json.dumps(backwards, indent=indent, ensure_ascii=ascii_only)))
    assert block.arguments == canonical_arguments(arguments)
    assert json.loads(block.arguments) == arguments


@pytest.mark.parametrize("arguments", [None, "", "{}", " {} "])
def test_no_arguments_are_an_empty_object(arguments: str | None) -> None:
    assert uses(call(arguments))[0].arguments == "{}"


@pytest.mark.parametrize(
    "arguments",
    [
        *("[1]", "7", "null", "{", "path=x", '{"a": NaN}', '{"a": 1e999}', "[" * 100_000, '{"a":' * 100_000),
        *('{"a":' * depth + "1" + "}" * depth for depth in (300, 600, 900, 2000)),
    ],
)
def test_arguments_of_other_models_that_are_no_usable_object_are_kept_as_text_within_one(arguments: str) -> None:
    assert json.loads(uses(call(arguments))[0].arguments) == {"arguments": arguments}


@pytest.mark.parametrize(
    ("bad", "code", "place"),
    [
        (7, "invalid_type", ""),
        (None, "invalid_type", ""),
        (call(type="custom"), "unsupported_value", ".type"),
        (call(function=None), "invalid_type", ".function"),
        (call(function="read"), "invalid_type", ".function"),
        (call(call_id=None), "invalid_type", ".id"),
        (call(call_id=7), "invalid_type", ".id"),
        (call(call_id=""), "invalid_type", ".id"),
        (call(name=None), "invalid_type", ".function.name"),
        (call(name=["f"]), "invalid_type", ".function.name"),
        (call([{"a": 1}]), "invalid_type", ".function.arguments"),
    ],
)
def test_a_malformed_call_is_refused_at_its_exact_place(bad: Any, code: str, place: str) -> None:
    with pytest.raises(BadRequest) as raised:
        uses(call(), bad)
    assert (raised.value.code, raised.value.param) == (code, f"messages[3].tool_calls[1]{place}")


@pytest.mark.parametrize("calls", [{}, "read", 7])
def test_calls_that_are_no_array_are_refused(calls: Any) -> None:
    with pytest.raises(BadRequest) as raised:
        tool_use_blocks({"role": "assistant", "tool_calls": calls}, PATH, Budget())
    assert (raised.value.code, raised.value.param) == ("invalid_type", "messages[3].tool_calls")


@given(st.lists(st.text()))
def test_a_result_is_verbatim_text_by_text_and_only_empty_ones_are_left_out(texts: list[str]) -> None:
    parts = [{"type": "text", "text": text} for text in texts]
    block = tool_result_block({"role": "tool", "tool_call_id": "a", "content": parts}, PATH)
    assert block == result_block("a", *(text for text in texts if text))


@pytest.mark.parametrize(("content", "texts"), [("42\n", ("42\n",)), (" ", (" ",)), ("", ()), (None, ()), ([], ())])
def test_a_result_may_be_a_string_or_nothing(content: Any, texts: tuple[str, ...]) -> None:
    assert tool_result_block({"tool_call_id": "a", "content": content}, PATH) == result_block("a", *texts)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (42, "42"),
        (False, "false"),
        ({"a": "é"}, '{"a": "é"}'),
        (["42", 1], '["42", 1]'),
        ([{"a": 1}], '[{"a": 1}]'),
        ([{"text": "x"}], "x"),
        ([{"type": None, "text": "x"}], "x"),
        ([{"type": "", "text": "x"}], "x"),
        ([{"type": "json", "json": {"a": 1}}], '{"a": 1}'),
        ([{"type": "resource", "resource": {"uri": "file:///a", "text": "x"}}], "x"),
        ([{"type": "resource_link", "uri": "file:///a"}], '{"type": "resource_link", "uri": "file:///a"}'),
    ],
)
def test_a_result_in_another_form_is_its_text(content: Any, text: str) -> None:
    assert tool_result_block({"tool_call_id": "a", "content": content}, PATH) == result_block("a", text)


def test_arguments_may_be_an_object_and_a_type_may_be_null() -> None:
    assert uses(call({"a": 1})) == uses(call('{"a":1}')) == uses({**call('{"a":1}'), "type": None})


@pytest.mark.parametrize(
    ("message", "code", "place"),
    [
        ({"content": "42"}, "missing_required_parameter", "tool_call_id"),
        ({"content": "42", "tool_call_id": None}, "missing_required_parameter", "tool_call_id"),
        ({"content": "42", "tool_call_id": 7}, "invalid_type", "tool_call_id"),
        ({"content": ["42", {"type": "text", "text": "x"}], "tool_call_id": "a"}, "invalid_type", "content[0]"),
        ({"content": [{"type": "resource"}], "tool_call_id": "a"}, "invalid_type", "content[0].resource"),
        ({"content": [{"type": "image"}], "tool_call_id": "a"}, "invalid_type", "content[0].source"),
        ({"content": [{"type": "refusal", "refusal": "no"}], "tool_call_id": "a"}, "unsupported_value",
         "content[0].type"),
    ],
)  # fmt: skip
def test_a_malformed_result_is_refused_at_its_exact_place(message: dict[str, Any], code: str, place: str) -> None:
    with pytest.raises(BadRequest) as raised:
        tool_result_block({"role": "tool", **message}, PATH)
    assert (raised.value.code, raised.value.param) == (code, f"messages[3].{place}")


@given(st.one_of(st.text(st.characters()), st.integers(), st.floats()))
def test_a_shown_value_is_short_and_one_printable_line(value: str | float) -> None:
    shown = shorten(value)
    assert len(shown) <= SHOWN_CHARS + 3
    assert shown.isprintable()


def test_whole_numbers_are_one_number_however_a_client_writes_them() -> None:
    spelled = [{"a": [1.0, {"b": 1e2}], "c": -0.0}, {"c": 0, "a": [1, {"b": 100}]}]
    assert len({canonical_arguments(arguments) for arguments in spelled}) == 1
    assert canonical_arguments({"a": 1.5, "b": 1e300, "c": True}) == '{"a":1.5,"b":1e+300,"c":true}'
