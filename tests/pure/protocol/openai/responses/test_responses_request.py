"""From the bytes of a Responses request to the TurnRequest that a chat completion would be."""

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_openai.errors import ApiError, BadRequest, ModelNotFound, NotFound
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.openai.responses.item_store import ItemStore
from claude_openai.protocol.openai.responses.objects import ResponsesHead
from claude_openai.protocol.openai.responses.request import (
    ResponsesRequest,
    parse_chat_body,
    parse_responses_request,
    references,
)
from claude_openai.protocol.openai.responses.response_store import ResponseStore
from claude_openai.protocol.turn.blocks import (
    MediaBlock,
    Message,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    canonical_arguments,
)
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import ToolChoice
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.turns import NO_RESULT, reminder
from tests import pictures
from tests.blocks import result_block
from tests.openai_schema import validate
from tests.pure.requests import ALMOST_REQUESTS, JSON, fixture

CATALOG = ModelCatalog("sonnet", ("fake-model",))
TOOLS = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("read", "write")]
PNG = f"data:image/png;base64,{base64.b64encode(pictures.PNG).decode()}"
CALL = {"type": "function_call", "call_id": "c1", "name": "read", "arguments": '{"b": 1, "a": 2}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "done"}
USED = ToolUseBlock("c1", "read", '{"a":2,"b":1}')


def nothing(item_id: str) -> None:
    return None


def parse(given: Any = "hi", **fields: Any) -> ResponsesRequest:
    body = {"model": "claude-opus", "input": given, **fields}
    return parse_responses_request(json.dumps(body).encode(), CATALOG, nothing)


def error_of(body: Any) -> ApiError | None:
    try:
        parse_responses_request(json.dumps(body).encode(), CATALOG, nothing)
    except ApiError as error:
        return error
    return None


def refusal_of(given: Any = "hi", **fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        parse(given, **fields)
    assert raised.value.status == 400
    assert raised.value.message
    return raised.value.code, raised.value.param


def user(content: Any = "hi") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(*texts: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": t} for t in texts]}


def test_a_text_is_one_user_message_and_the_rest_has_its_defaults() -> None:
    asked = parse()
    chat = asked.chat
    assert (chat.system, chat.turns, chat.prompt) == ("", (), Message("user", (TextBlock("hi"),)))
    assert (chat.model, chat.claude_model) == ("claude-opus", "opus")
    assert (chat.stream, chat.tools, chat.tool_choice) == (False, (), ToolChoice())
    assert asked.kept is not None


def test_it_is_the_request_that_a_chat_completion_would_be() -> None:
    shared = {"model": "claude-opus", "user": "me", "metadata": {"a": "b"}, "stream": True}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    asked = parse(
        [
            {"role": "developer", "content": "Be exact."},
            user([{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PNG}]),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
            assistant("Let me see."),
            CALL,
            OUTPUT,
        ],
        instructions="Be brief.",
        tools=[{"type": "function", "name": "read", "description": "Reads", "parameters": schema, "strict": True}],
        tool_choice={"type": "function", "name": "read"},
        reasoning={"effort": "high", "summary": "auto"},
        parallel_tool_calls=False,
        **shared,
    )
    function = {"name": "read", "description": "Reads", "parameters": schema}
    call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": CALL["arguments"]}}
    said: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be exact."},
        user([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PNG}}]),
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    chat = {
        "messages": said,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "read"}},
        "reasoning_effort": "high",
        "parallel_tool_calls": False,
        "stream_options": {"include_usage": True},
        **shared,
    }
    assert asked.chat == parse_chat_request(json.dumps(chat).encode(), CATALOG)


UNSET = [
    ("max_output_tokens", -1), ("reasoning", {"effort": ""}), ("reasoning", {"effort": "default", "summary": ""}),
    ("reasoning", {"effort": "auto"}), ("text", {"verbosity": ""}), ("truncation", ""), ("service_tier", ""),
    ("tool_choice", ""), ("system", ""), ("instructions", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), UNSET)
def test_a_value_that_means_nothing_is_the_same_as_absent(name: str, value: Any) -> None:
    assert parse(**{name: value}).chat == parse().chat
    # Clients that demand OpenAI's object would not take it back either.
    assert {**parse(**{name: value}).echo, "instructions": None} == parse().echo


def test_a_system_prompt_in_the_form_of_claudes_api_is_one() -> None:
    given = [{"role": "developer", "content": "Three."}, user()]
    assert parse(given, instructions="One.", system="Two.").chat.system == "One.\n\nTwo.\n\nThree."


@pytest.mark.parametrize("messages", [{}, {"messages": []}, {"messages": None}])
def test_the_other_api_takes_such_a_body_as_what_it_is(messages: dict[str, Any]) -> None:
    fields = {"tools": TOOLS, "instructions": "Be brief.", "max_output_tokens": 9, "reasoning": {"effort": "low"}}
    for options in ({}, {"stream_options": {"include_usage": True}}):
        body = {"model": "claude-opus", "input": [user(), CALL, OUTPUT], **fields, **options, **messages}
        expected = replace(parse([user(), CALL, OUTPUT], **fields).chat, include_usage=bool(options))
        assert parse_chat_body(json.dumps(body).encode(), CATALOG) == expected


def test_messages_win_over_an_input_beside_them() -> None:
    body = {"model": "claude-opus", "messages": [user("a")], "input": "b"}
    assert parse_chat_body(json.dumps(body).encode(), CATALOG).prompt == Message("user", (TextBlock("a"),))


def test_an_item_that_is_only_named_is_refused_by_the_other_api() -> None:
    body = {"model": "claude-opus", "input": [{"type": "item_reference", "id": "msg_1"}]}
    with pytest.raises(BadRequest) as raised:
        parse_chat_body(json.dumps(body).encode(), CATALOG)
    assert raised.value.param == "input[0]"


def test_every_field_of_openais_schema_is_in_the_table() -> None:
    schemas = fixture("openai-openapi-subset.json")["components"]["schemas"]

    def fields_of(schema: Mapping[str, Any]) -> set[str]:
        found = set(schema.get("properties", {}))
        for part in schema.get("allOf", ()):
            found |= fields_of(schemas[part["$ref"].rpartition("/")[2]] if "$ref" in part else part)
        return found

    assert fields_of(schemas["CreateResponse"]) <= set(RESPONSES_FIELDS)


@pytest.mark.parametrize("name", sorted(RESPONSES_FIELDS.keys() - {"model", "input"}))
def test_null_is_the_same_as_absent_and_a_wrong_type_is_refused_with_its_field(name: str) -> None:
    numbers = {"max_output_tokens", "max_tool_calls", "temperature", "top_logprobs", "top_p"}
    assert parse(**{name: None}) == parse()
    assert refusal_of(**{name: "x" if name in numbers else 7})[1] == name


@given(st.one_of(JSON, ALMOST_REQUESTS, st.fixed_dictionaries({"model": st.just("sonnet"), "input": JSON})))
def test_no_json_value_causes_anything_but_a_client_error(value: Any) -> None:
    error = error_of(value)
    assert error is None or 400 <= error.status < 500


items = st.sampled_from(
    [
        *(user(), user(""), user([]), assistant("a"), assistant(), CALL, OUTPUT, {**CALL, "namespace": "n"}),
        *({"type": "reasoning"}, {"type": "item_reference", "id": "x"}, {"id": "rs_1"}, {"id": "msg_1"}),
        *({"role": "developer", "content": "d"}, {"type": "web_search_call", "id": "w"}, {}, None, [], "x", 1),
        *({"role": "tool"}, {"type": "message"}, {"type": 3}, {**CALL, "name": None}, {**OUTPUT, "output": 3}),
    ]
)


@given(st.lists(items, max_size=8))
def test_any_sequence_of_items_is_a_conversation_that_claude_takes_or_refused_at_an_item(sequence: list[Any]) -> None:
    error = error_of({"model": "opus", "input": sequence})
    if error is not None:
        assert str(error.param).startswith("input")
        return
    chat = parse(sequence).chat
    turns = (*chat.turns, chat.prompt)
    assert all(before.role != after.role for before, after in itertools.pairwise(turns))
    assert chat.prompt.role == "user"
    assert all(turn.blocks for turn in turns)


@pytest.mark.parametrize(
    "item",
    [
        user(),
        {"type": "message", **user([{"type": "input_text", "text": "hi"}])},
        {"type": "message", "id": "msg_1", "status": "completed", **user([{"type": "input_text", "text": "hi"}])},
        {"type": None, **user()},
    ],
)
def test_a_message_may_be_spelled_in_its_easy_and_its_full_form(item: dict[str, Any]) -> None:
    assert parse([item]).chat.prompt == Message("user", (TextBlock("hi"),))


def test_an_answer_goes_back_as_it_came_with_keys_that_are_null() -> None:
    output = [
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "status": None},
        {"id": "msg_1", "status": "completed", **assistant("One. ")},
        {"id": "fc_1", "status": "completed", "namespace": None, **CALL},
    ]
    chat = parse([user(), *output, OUTPUT]).chat
    assert chat.turns == (Message("user", (TextBlock("hi"),)), Message("assistant", (TextBlock("One. "), USED)))
    assert chat.prompt == Message("user", (result_block("c1", "done"),))


def test_refusal_in_history_becomes_assistant_text() -> None:
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert parse([user(), said, user()]).chat.turns[1] == Message("assistant", (TextBlock("No."),))


def test_reasoning_that_comes_back_as_a_message_of_its_own_is_reasoning_and_nothing_else_is() -> None:
    odd = ["<think>a</think> b", "a <think>b</think>", "<think>a</think><think>b</think>", "<think>"]
    given = [user(), *({"role": "assistant", "content": text} for text in ["<think>\nHm\n</think>", *odd]), user()]
    assert parse(given).chat.turns[1].blocks == tuple(TextBlock(text) for text in odd)


def test_texts_precede_calls_and_results_precede_texts() -> None:
    second = {**CALL, "call_id": "c2"}
    given = [user(), CALL, assistant("Two at once."), second, user("And?"), {**OUTPUT, "call_id": "c2"}, OUTPUT]
    chat = parse(given).chat
    assert chat.turns[1].blocks == (TextBlock("Two at once."), USED, ToolUseBlock("c2", "read", '{"a":2,"b":1}'))
    assert chat.prompt.blocks == (result_block("c2", "done"), result_block("c1", "done"), TextBlock("And?"))


def test_an_output_may_be_an_array_with_a_picture() -> None:
    parts = [{"type": "input_text", "text": "A picture:"}, {"type": "input_image", "image_url": PNG}]
    (result,) = parse([user(), CALL, {**OUTPUT, "output": parts}]).chat.prompt.blocks
    picture = MediaBlock("image", "image/png", PNG.partition(",")[2])
    assert getattr(result, "parts", None) == (TextBlock("A picture:"), picture)


def test_where_only_the_system_speaks_its_last_text_is_asked() -> None:
    chat = parse([{"role": "developer", "content": "Say hello."}], instructions="Be brief.").chat
    assert (chat.system, chat.prompt.text) == ("Be brief.", "Say hello.")


def test_a_file_is_a_document() -> None:
    part = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}
    assert parse([user([part])]).chat.prompt.blocks == (MediaBlock("document", "text/plain", "hi", "a.txt"),)


def test_later_system_message_stays_in_its_place() -> None:
    chat = parse(
        [{"role": "developer", "content": "A"}, user(), assistant("x"), {"role": "system", "content": "B"}]
    ).chat
    assert (chat.system, chat.prompt.blocks) == ("A", (TextBlock("B"),))
    chat = parse([user(), assistant("x"), {"role": "developer", "content": "B"}, user("y")]).chat
    assert chat.prompt.blocks == (reminder("B"), TextBlock("y"))


def test_call_without_output_gets_an_error_and_double_output_counts_once() -> None:
    blocks = parse([user(), CALL, user("Stop.")]).chat.prompt.blocks
    assert blocks == (ToolResultBlock(CALL["call_id"], NO_RESULT, is_error=True), TextBlock("Stop."))
    assert parse([user(), CALL, user("Wait."), OUTPUT, OUTPUT]).chat.prompt.blocks == (
        *parse([user(), CALL, OUTPUT]).chat.prompt.blocks,
        TextBlock("Wait."),
    )


@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": []},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "ghost_snapshot", "ghost_commit": {}},
    ],
)
def test_an_item_that_claude_has_no_use_for_is_left_out(item: dict[str, Any]) -> None:
    assert parse([user("go"), item, user("next")]).chat.prompt.blocks == (TextBlock("go"), TextBlock("next"))


@pytest.mark.parametrize(
    ("call", "output", "name", "arguments", "text"),
    [
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin Patch"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
            *("apply_patch", {"input": "*** Begin Patch"}, "ok"),
        ),
        (
            {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
            {"type": "local_shell_call_output", "id": "c", "output": "a"},
            *("local_shell", {"command": ["ls"]}, "a"),
        ),
        (
            {"type": "tool_search_call", "call_id": "c", "status": "completed", "arguments": {"query": "x"}},
            {"type": "tool_search_output", "call_id": "c", "tools": [{"name": "exec"}]},
            *("tool_search", {"query": "x"}, '[{"name": "exec"}]'),
        ),
    ],
)
def test_calls_of_other_kinds_are_carried_as_calls(
    call: Any, output: Any, name: str, arguments: Any, text: str
) -> None:
    chat = parse([user("go"), call, output, user("next")]).chat
    assert chat.turns[1].blocks == (ToolUseBlock("c", name, canonical_arguments(arguments)),)
    assert chat.prompt.blocks == (ToolResultBlock("c", (TextBlock(text),)), TextBlock("next"))


def test_a_call_of_an_mcp_server_is_carried_with_its_output() -> None:
    item = {"type": "mcp_call", "id": "m", "name": "look", "arguments": '{"a": 1}', "output": "seen", "error": None}
    chat = parse([user("go"), item, user("next")]).chat
    assert chat.turns[1].blocks == (ToolUseBlock("m", "look", '{"a":1}'),)
    assert chat.prompt.blocks == (ToolResultBlock("m", (TextBlock("seen"),)), TextBlock("next"))


def test_tools_that_an_item_adds_are_offered() -> None:
    added = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "exec"}]}
    assert [tool.name for tool in parse([user("go"), added, user("next")], tools=TOOLS).chat.tools][-1] == "exec"
    with pytest.raises(BadRequest) as raised:
        parse([user("go"), {**added, "tools": [{"type": "function", "name": "a b"}]}])
    assert raised.value.param == "input[1].tools[0].name"


@pytest.mark.parametrize("empty", [None, ""])
def test_a_type_that_is_null_or_empty_is_as_if_it_were_absent(empty: Any) -> None:
    assert parse([{**user("go"), "type": empty}]).chat.prompt == parse([user("go")]).chat.prompt


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ("  ", "invalid_value", "input"),
        ([], "invalid_value", "input"),
        ([{"role": "system", "content": " "}], "invalid_value", "input"),
        ([user(), assistant("x")], "unsupported_value", "input[1]"),
        ([user(" ")], "invalid_value", "input[0].content"),
        ([user(), 3], "invalid_type", "input[1]"),
        ([{"role": "tool", "content": "x"}], "invalid_value", "input[0].role"),
        ([{"type": "message", "content": "x"}], "missing_required_parameter", "input[0].role"),
        ([{"name": "x"}], "missing_required_parameter", "input[0].type"),
        ([user(), {"type": "new_in_2027", "id": "ws_1"}], "unsupported_value", "input[1].type"),
        ([user(), {"type": "item_reference", "id": "msg_1"}], "invalid_value", "input[1]"),
        ([{"type": "item_reference", "id": 3}], "invalid_type", "input[0].id"),
        ([user(), CALL], "invalid_value", "input[1]"),
        ([user(), CALL, user(" ")], "invalid_value", "input[1]"),
        ([user(), OUTPUT], "invalid_value", "input[1].call_id"),
        ([user(), CALL, OUTPUT, {**OUTPUT, "output": "other"}], "invalid_value", "input[3].call_id"),
        ([user(), {**CALL, "call_id": ""}, OUTPUT], "invalid_type", "input[1].call_id"),
        ([user(), {**CALL, "arguments": []}, OUTPUT], "invalid_type", "input[1].arguments"),
        ([user(), {**CALL, "namespace": 1}, OUTPUT], "invalid_type", "input[1].namespace"),
        ([user(), CALL, {**OUTPUT, "call_id": None}], "missing_required_parameter", "input[2].call_id"),
        (
            [user(), CALL, {**OUTPUT, "output": [{"type": "input_audio"}]}],
            "unsupported_value",
            "input[2].output[0].type",
        ),
        ([user([{"type": "input_audio"}])], "unsupported_value", "input[0].content[0].type"),
        ([user([{"type": "input_image", "file_id": "f"}])], "unsupported_value", "input[0].content[0].file_id"),
    ],
)
def test_an_item_that_cannot_be_carried_is_refused_at_its_place(given: Any, code: str, param: str) -> None:
    assert refusal_of(given) == (code, param)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"previous_response_id": 7}, "invalid_type", "previous_response_id"),
        ({"store": "yes"}, "invalid_type", "store"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"background": True, "store": False}, "unsupported_value", "background"),
        ({"background": "yes"}, "invalid_type", "background"),
        ({"prompt": {"id": "p"}}, "unsupported_parameter", "prompt"),
        ({"top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "unsupported_value", "include[0]"),
        ({"text": {"format": {"type": "json_schema"}}}, "missing_required_parameter", "text.format.name"),
        (
            {"text": {"format": {"type": "json_schema", "name": "a"}}},
            "missing_required_parameter",
            "text.format.schema",
        ),
        ({"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type"),
        ({"text": {"format": {}}}, "missing_required_parameter", "text.format.type"),
        ({"text": {"verbosity": "loud"}}, "invalid_value", "text.verbosity"),
        ({"reasoning": {"effort": "huge"}}, "invalid_value", "reasoning.effort"),
        ({"max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
        ({"truncation": "some"}, "invalid_value", "truncation"),
    ],
)
def test_a_field_that_needs_what_is_not_here_is_refused_with_its_name(
    fields: dict[str, Any], code: str, param: str
) -> None:
    assert refusal_of(**fields) == (code, param)


@pytest.mark.parametrize(
    "fields",
    [
        {"store": True, "background": False, "previous_response_id": "", "conversation": ""},
        {"include": ["reasoning.encrypted_content"], "truncation": "auto", "service_tier": "flex"},
        {"max_tool_calls": 3, "temperature": 0, "top_p": 0.5, "stream_options": {}},
        {"text": {"format": {"type": "text"}, "verbosity": "low"}, "client_metadata": {}},
    ],
)
def test_what_changes_no_answer_changes_no_request(fields: dict[str, Any]) -> None:
    assert parse(**fields).chat == parse().chat


def test_the_length_and_the_form_of_an_answer_are_those_of_a_chat_completion() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    asked = parse(text={"format": form}, max_output_tokens=100.0)
    assert asked.chat.output is not None
    assert asked.chat.output.schema == json.dumps(schema, separators=(",", ":"))
    assert asked.chat.max_tokens == 100
    assert asked.echo["text"] == {"format": form}
    chat_form = parse(text={"format": {"type": "json_object"}}).chat.output
    assert chat_form is not None
    assert chat_form.schema == '{"type":"object"}'


def test_a_missing_model_or_input_is_refused_and_an_unknown_model_is_a_404() -> None:
    assert refusal_of(model=None) == (None, "model")
    assert refusal_of(None) == ("missing_required_parameter", "input")
    with pytest.raises(ModelNotFound):
        parse(model="gpt-5")


@pytest.mark.parametrize(
    ("choice", "offered", "read"),
    [
        ("auto", ["read", "write"], ToolChoice()),
        ("none", [], ToolChoice("none")),
        ("required", ["read", "write"], ToolChoice("required")),
        ({"type": "function", "name": "write"}, ["write"], ToolChoice("required", "write")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "write"}]},
            ["write"],
            ToolChoice("required"),
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"name": "read"}]}, ["read"], ToolChoice()),
    ],
)
def test_the_tools_that_claude_is_to_see_are_those_of_the_choice(
    choice: Any, offered: list[str], read: ToolChoice
) -> None:
    chat = parse(tools=TOOLS, tool_choice=choice).chat
    assert ([tool.name for tool in chat.tools], chat.tool_choice) == (offered, read)


@pytest.mark.parametrize(
    ("tools", "choice", "code", "param"),
    [
        ([3], "auto", "invalid_type", "tools[0]"),
        ([{"type": "function"}], "auto", "missing_required_parameter", "tools[0].function"),
        ([*TOOLS, {**TOOLS[0], "description": "Other."}], "auto", "invalid_value", "tools[2].name"),
        ([{**TOOLS[0], "parameters": {"type": 3}}], "auto", "invalid_value", "tools[0].parameters.type"),
        ([{"type": "web_search"}], "auto", "unsupported_value", "tools[0].type"),
        ([*TOOLS, {"type": "file_search"}], "auto", "unsupported_value", "tools[2].type"),
        ([{"type": "custom", "name": "patch"}], "auto", "unsupported_value", "tools[0].type"),
        ([{"type": "namespace", "name": "n"}], "auto", "invalid_type", "tools[0].tools"),
        ([{"type": "namespace", "tools": []}], "auto", "invalid_type", "tools[0].name"),
        (
            [{"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "c"}]}],
            "auto",
            "unsupported_value",
            "tools[0].tools[0].type",
        ),
        (
            [{"type": "namespace", "name": "n" * 100, "tools": [{"name": "a" * 14}]}],
            "auto",
            "invalid_value",
            "tools[0].tools[0].name",
        ),
        ([{"name": "x"}] * 1025, "auto", "invalid_value", "tools"),
        (TOOLS, {"type": "function"}, "missing_required_parameter", "tool_choice.name"),
        (TOOLS, {"type": "function", "name": "none"}, "invalid_value", "tool_choice"),
        (TOOLS, {"type": "web_search"}, "unsupported_value", "tool_choice.type"),
        (TOOLS, {"type": "allowed_tools"}, "invalid_type", "tool_choice.tools"),
        (TOOLS, {"type": "allowed_tools", "tools": []}, "invalid_value", "tool_choice.tools"),
        (TOOLS, {"type": "allowed_tools", "tools": [{"name": "x"}]}, "invalid_value", "tool_choice.tools[0]"),
        (
            TOOLS,
            {"type": "allowed_tools", "tools": [{"name": "read"}]},
            "missing_required_parameter",
            "tool_choice.mode",
        ),
        ([{**TOOLS[0], "strict": "yes"}], "auto", "invalid_type", "tools[0].strict"),
        ([{**TOOLS[0], "description": False}], "auto", "invalid_type", "tools[0].description"),
        (
            [{"type": "namespace", "name": "n", "description": 7, "tools": []}],
            "auto",
            "invalid_type",
            "tools[0].description",
        ),
        (
            TOOLS,
            {"type": "allowed_tools", "mode": "none", "tools": [{"name": "read"}]},
            "invalid_value",
            "tool_choice.mode",
        ),
        ([], "required", "invalid_value", "tool_choice"),
    ],
)
def test_a_tool_or_a_choice_that_cannot_be_offered_is_refused_at_its_place(
    tools: list[Any], choice: Any, code: str, param: str
) -> None:
    assert refusal_of(tools=tools, tool_choice=choice) == (code, param)


def test_a_function_of_a_namespace_is_offered_and_remembered_under_a_name_with_both() -> None:
    namespace = {"type": "namespace", "name": "agents", "description": "", "tools": [TOOLS[0]]}
    asked = parse(
        [user(), {**CALL, "namespace": "agents"}, OUTPUT],
        tools=[TOOLS[0], namespace],
    )
    assert [tool.name for tool in asked.chat.tools] == ["read", "agents__read"]
    assert asked.namespaces == {"agents__read": ("agents", "read")}
    assert asked.chat.turns[1].blocks == (ToolUseBlock("c1", "agents__read", USED.arguments),)


def test_codexs_request_is_understood_and_its_web_search_left_out() -> None:
    recorded = fixture("codex-responses-request.json")["body"]
    asked = parse_responses_request(json.dumps(recorded).encode(), CATALOG, nothing)
    assert [block.text for block in asked.chat.prompt.blocks if isinstance(block, TextBlock)][-1] == "say hi"
    assert asked.chat.system.startswith("You are a coding agent running in the Codex CLI")
    assert asked.kept is None
    assert "multi_agent_v1__spawn_agent" in [tool.name for tool in asked.chat.tools]
    kinds = [tool["type"] for tool in asked.echo["tools"]]
    assert kinds == [tool["type"] for tool in recorded["tools"] if tool["type"] != "web_search"]
    live = [{"type": "web_search", "external_web_access": True}]
    assert parse(tools=live).chat.tools == ()


def test_what_an_answer_repeats_is_what_was_asked_and_fits_the_schema() -> None:
    asked = parse(
        instructions="Be brief.",
        tools=[{"type": "function", "name": "read"}],
        tool_choice="required",
        temperature=0,
        metadata={"a": "b"},
        text={"format": None, "verbosity": "low"},
        reasoning={"effort": "low"},
        store=True,
        user="me",
    )
    tool = {"type": "function", "name": "read", "description": None, "parameters": None, "strict": None}
    repeated = {"instructions": "Be brief.", "tools": [tool], "tool_choice": "required", "temperature": 0, "user": "me"}
    assert asked.echo.items() >= {**repeated, "store": True, "metadata": {"a": "b"}}.items()
    assert asked.echo["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "error": None, "incomplete_details": None}
    validate("Response", {**head, "output": [], **asked.echo})


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    """One of the values, null, or something that no field has."""
    return st.sampled_from([*values, None, "zzz", 7, 1.0, -1, True, [], {}, {"foo": 1}])


_FORM = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
_FORMS = [{"type": "text"}, {"type": "json_object", "foo": 1}, _FORM, {**_FORM, "foo": 1, "description": "d"}]
_ALLOWED = [{"type": "function", "name": "read", "foo": 1}]
_CHOICES: list[Any] = [
    *("auto", "none", "required", {"type": "function", "name": "read", "foo": 1}, {"type": "function"}),
    *({"type": "allowed_tools", "tools": _ALLOWED, **mode} for mode in ({}, {"mode": "auto"}, {"mode": "required"})),
]


def objects_of(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=values)


_ASKED = objects_of(
    background=maybe(False, True),
    instructions=maybe("Be brief."),
    max_output_tokens=maybe(100, 100.0),
    max_tool_calls=maybe(3, 3.0),
    metadata=maybe({"a": "b"}),
    parallel_tool_calls=maybe(False),
    prompt_cache_key=maybe("k"),
    reasoning=maybe() | objects_of(effort=maybe("low", "none"), summary=maybe("auto", "detailed"), foo=maybe()),
    safety_identifier=maybe("s"),
    service_tier=maybe("flex"),
    temperature=maybe(0, 2, 0.5),
    text=maybe()
    | objects_of(verbosity=maybe("low"), format=maybe(*_FORMS), foo=maybe())
    | objects_of(format=st.builds(lambda strict: {**_FORM, "strict": strict}, maybe(True))),
    tool_choice=maybe(*_CHOICES),
    tools=st.builds(
        lambda more: [{**TOOLS[0], **more}, TOOLS[1]],
        objects_of(strict=maybe(True), description=maybe("d"), parameters=maybe({"type": "object"}), foo=maybe()),
    ),
    top_logprobs=maybe(0),
    top_p=maybe(0.5),
    truncation=maybe("auto"),
    user=maybe("me"),
)


@given(_ASKED, st.sampled_from(sorted(RESPONSES_FIELDS)), JSON)
@settings(max_examples=150)
def test_answer_repeats_accepted_fields_within_the_schema(fields: dict[str, Any], name: str, value: Any) -> None:
    alone = [{key: each} for key, each in fields.items() if key not in ("tools", "tool_choice")]
    tools: dict[str, Any] = {key: fields[key] for key in ("tools", "tool_choice") if key in fields}
    requests: list[dict[str, Any]] = [fields, tools, *alone, *([{name: value}] if name != "input" else [])]
    for request in requests:
        try:
            echo = parse(**request).echo
        except ApiError:
            continue
        head = {"id": "resp_1", "object": "response", "created_at": 1, "error": None, "incomplete_details": None}
        validate("Response", {**head, "output": [], **json.loads(json.dumps(echo))})


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"reasoning": {"summary": "zzz"}}, "invalid_value", "reasoning.summary"),
        ({"reasoning": {"summary": {}}}, "invalid_type", "reasoning.summary"),
        ({"text": {"format": {**_FORM, "strict": "yes"}}}, "invalid_type", "text.format.strict"),
        ({"text": {"format": {**_FORM, "description": 7}}}, "invalid_type", "text.format.description"),
    ],
)
def test_what_an_answer_could_not_repeat_is_refused_at_its_place(fields: dict[str, Any], code: str, param: str) -> None:
    assert refusal_of(**fields) == (code, param)


def test_whole_numbers_are_repeated_as_such_and_unknown_keys_are_not() -> None:
    asked = parse(max_output_tokens=100.0, max_tool_calls=3.0, text={"foo": 1, "format": {"type": "text", "bar": 2}})
    assert json.dumps([asked.echo["max_output_tokens"], asked.echo["max_tool_calls"]]) == "[100, 3]"
    assert asked.echo["text"] == {"format": {"type": "text"}}


def test_the_clients_names_for_its_user_and_its_cache_are_kept_for_the_log() -> None:
    chat = parse(prompt_cache_key="k", safety_identifier="ann").chat
    assert (chat.prompt_cache_key, chat.user) == ("k", "ann")
    assert parse(safety_identifier="ann", user="bob").chat.user == "bob"


def test_an_item_of_an_earlier_answer_may_be_named_by_its_id() -> None:
    given = ItemStore()
    said = {"id": "msg_1", "status": "completed", **assistant("Hello")}
    for item in ({"id": "rs_1", "type": "reasoning", "summary": []}, said, {"id": "fc_1", **CALL}):
        given.remember(item, "me")
    references = [{"type": "item_reference", "id": name} for name in ("rs_1", "msg_1", "fc_1")]
    body = {"model": "opus", "input": [user(), *references, OUTPUT]}
    asked = parse_responses_request(json.dumps(body).encode(), CATALOG, lambda name: given.recall(name, "me"))
    assert asked.chat == parse([user(), said, CALL, OUTPUT], model="opus").chat


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, (None, [])),
        ({"input": "Hi", "previous_response_id": "resp_1"}, ("resp_1", [])),
        (
            {"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}, "x", user()]},
            (None, ["msg_1", "msg_2"]),
        ),
        ({"input": [{"type": "item_reference", "id": 1}, {"id": None}], "previous_response_id": 1}, (None, [])),
        ({"input": {"id": "msg_1"}}, (None, [])),
    ],
)
def test_references_of_any_body_are_found(body: dict[str, Any], found: tuple[str | None, list[str]]) -> None:
    assert references(body) == found


def test_item_is_found_by_its_caller_only() -> None:
    given = ItemStore()
    mine, other = ({"id": "msg_1", **assistant(text)} for text in ("mine", "other"))
    given.remember(mine, "me")
    assert given.recall("msg_1", "other") is None
    given.remember(other, "other")
    given.forget("msg_1", "other")
    assert (given.recall("msg_1", "me"), given.recall("msg_1", "other")) == (mine, None)


def test_the_oldest_items_are_forgotten_beyond_the_bounds() -> None:
    few, small = ItemStore(max_items=2), ItemStore(max_chars=5)
    for number in range(4):
        few.remember({"id": f"msg_{number}", **assistant("x")}, "me")
        small.remember({"id": f"fc_{number}", "type": "function_call", "arguments": "ab"}, "me")
    assert [few.recall(f"msg_{number}", "me") is not None for number in range(4)] == [False, False, True, True]
    assert [small.recall(f"fc_{number}", "me") is not None for number in range(4)] == [False, False, True, True]
    small.remember({"id": "msg_9", **assistant("far too long")}, "me")
    assert small.recall("msg_9", "me") is None


def test_a_forgotten_item_is_gone_and_takes_no_room() -> None:
    small = ItemStore(max_chars=2)
    small.remember({"id": "fc_1", "type": "function_call", "arguments": "ab"}, "me")
    for _ in "twice":
        small.forget("fc_1", "me")
    assert small.recall("fc_1", "me") is None
    small.remember({"id": "fc_2", "type": "function_call", "arguments": "ab"}, "me")
    assert small.recall("fc_2", "me") is not None


def stored(given: Any, output: Sequence[Mapping[str, Any]], store: ResponseStore, **fields: Any) -> str:
    """The id of a response that is kept in the store."""
    body = json.dumps({"model": "opus", "input": given, **fields}).encode()
    asked = parse_responses_request(body, CATALOG, nothing, lambda name: store.conversation(name, "me", 0))
    assert asked.kept is not None
    name = f"resp_{len(output)}{fields.get('previous_response_id', '')}"
    store.keep(ResponsesHead(name, 1, asked.echo).response("completed", output), asked.kept, "me", 0)
    return name


def continuing(previous: str, given: Any, store: ResponseStore, **fields: Any) -> TurnRequest:
    body = {"model": "opus", "input": given, "previous_response_id": previous, **fields}
    earlier = lambda name: store.conversation(name, "me", 0)  # noqa: E731
    asked = parse_responses_request(json.dumps(body).encode(), CATALOG, nothing, earlier)
    assert asked.previous_id == asked.echo["previous_response_id"] == previous
    return asked.chat


def test_a_continued_response_is_the_same_request_as_its_whole_conversation() -> None:
    store = ResponseStore()
    thought = {"id": "rs_1", "type": "reasoning", "summary": []}
    answer = [thought, {"id": "msg_1", "status": "completed", **assistant("Let me see.")}, {"id": "fc_1", **CALL}]
    system = {"role": "developer", "content": "Be a pirate."}
    fields = {"tools": [{"type": "function", "name": "read"}]}
    first = stored([system, user()], answer, store, instructions="Only here.", **fields)
    whole = [system, user(), *answer, OUTPUT]
    assert continuing(first, [OUTPUT], store, **fields) == parse(whole, model="opus", **fields).chat
    second = stored([OUTPUT], [assistant("Done.")], store, previous_response_id=first)
    expected = parse([*whole, assistant("Done."), user("Thanks.")], model="opus").chat
    assert continuing(second, "Thanks.", store) == expected


def test_a_short_request_may_continue_a_conversation_with_large_arguments() -> None:
    store = ResponseStore()
    call = {**CALL, "id": "fc_1", "arguments": '{"a":[' + "1," * 110_000 + "1]}"}
    first = stored("Hi", [call], store)
    whole = [{"role": "user", "content": "Hi"}, call, OUTPUT]
    assert continuing(first, [OUTPUT], store) == parse(whole, model="opus").chat


def test_what_is_wrong_with_a_continued_conversation_is_said_at_its_place() -> None:
    store = ResponseStore()
    first = stored("Hi", [assistant("Hello")], store)
    with pytest.raises(BadRequest) as raised:
        continuing(first, [user(), {"type": "new_in_2027"}], store)
    assert raised.value.param == "input[1].type"


def test_tools_in_the_input_of_an_earlier_response_are_offered_again() -> None:
    store = ResponseStore()
    added = {"type": "additional_tools", "tools": [{"type": "function", "name": "added"}]}
    first = stored([added, user()], [assistant("Hello")], store)
    assert [tool.name for tool in continuing(first, "Hi", store).tools] == ["added"]


def test_nothing_is_kept_of_a_request_if_it_or_the_server_wants_that() -> None:
    body = {"model": "opus", "input": "Hi"}
    for asked in (
        parse_responses_request(json.dumps({**body, "store": False}).encode(), CATALOG, nothing),
        parse_responses_request(json.dumps(body).encode(), CATALOG, nothing, may_store=False),
    ):
        assert (asked.kept, asked.echo["store"]) == (None, False)


def test_a_chat_completion_cannot_continue_a_response() -> None:
    body = {"model": "opus", "input": "Hi", "previous_response_id": "resp_1"}
    with pytest.raises(NotFound) as raised:
        parse_chat_body(json.dumps(body).encode(), CATALOG)
    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")
