"""From the bytes of a request of the Messages API to a TurnRequest, the same that OpenAI's APIs make."""

import base64
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import BadRequest, ModelNotFound
from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.anthropic.messages.request import parse_messages_request
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import (
    MediaBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import ToolChoice
from claude_openai.protocol.wire.field_types import Use
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.turns import NO_RESULT, reminder
from tests.media_files import PDF
from tests.pictures import PNG
from tests.pure.requests import JSON

CATALOG = ModelCatalog("sonnet", ("fake-model",))
HELLO = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS = [{"name": name, "description": "d", "input_schema": SCHEMA} for name in ("read", "write")]
PNG_TEXT = base64.b64encode(PNG).decode()
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_TEXT}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "/a"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "R"}
THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "c2VjcmV0"}


def parse(**fields: Any) -> TurnRequest:
    return parse_messages_request(json.dumps({"model": "claude-opus", "messages": HELLO, **fields}).encode(), CATALOG)


def refusal_of(**fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        parse(**fields)
    assert raised.value.message
    return raised.value.code, raised.value.param


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def test_a_plain_request_is_that_of_a_chat() -> None:
    of_chat = parse_chat_request(json.dumps({"model": "claude-opus", "messages": HELLO}).encode(), CATALOG)
    request = parse()
    assert request == replace(of_chat, include_usage=True, show_thinking=False)


def test_what_is_honoured_is_in_the_request() -> None:
    request = parse(
        system=[text("Be brief.", cache_control={"type": "ephemeral"}), text("Be nice.")],
        stream=True,
        max_tokens=100,
        stop_sequences=["END", "", "\n"],
        output_config={"effort": "high"},
        thinking={"type": "enabled", "budget_tokens": 2000},
        metadata={"user_id": "ann"},
        claude={"toolMode": "readonly"},
    )
    assert request.system == "Be brief.\n\nBe nice."
    assert (request.stream, request.max_tokens, request.stop) == (True, 100, ("END", "\n"))
    assert (request.reasoning_effort, request.user, request.metadata) == ("high", "ann", {})
    assert request.options.tool_mode == "readonly"


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, None),
        ({"output_config": {"effort": None}}, None),
        ({"output_config": {"effort": "max"}, "claude": {"effort": "low"}}, "low"),
    ],
)
def test_effort_is_that_of_the_output_or_none_without_thinking(fields: dict[str, Any], effort: str | None) -> None:
    assert parse(**fields).reasoning_effort == effort


@pytest.mark.parametrize("kind", ["enabled", "adaptive", "between_tools", "disabled", None])
def test_thinking_is_shown_to_clients_that_ask_for_it(kind: str | None) -> None:
    thinking = None if kind is None else {"type": kind}
    assert parse(thinking=thinking).show_thinking is (kind not in ("disabled", None))


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    ],
)
def test_the_format_of_an_answer_may_be_in_its_newer_or_older_place(fields: dict[str, Any]) -> None:
    output = parse(**fields).output
    assert output is not None
    assert json.loads(output.schema) == SCHEMA
    assert parse(**fields, tools=TOOLS, tool_choice={"type": "any"}).output is None


@pytest.mark.parametrize(
    ("choice", "expected", "offered", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), ["read", "write"], True),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto"), ["read", "write"], False),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required"), ["read", "write"], True),
        ({"type": "tool", "name": "read"}, ToolChoice("required", "read"), ["read"], True),
        ({"type": "none"}, ToolChoice("none"), [], True),
    ],
)
def test_a_choice_among_the_tools_is_read(
    choice: dict[str, Any], expected: ToolChoice, offered: list[str], parallel: bool
) -> None:
    request = parse(tools=TOOLS, tool_choice=choice)
    assert request.tool_choice == expected
    assert [tool.name for tool in request.tools] == offered
    assert request.parallel_tool_calls is parallel


def test_a_tool_is_the_same_as_in_a_chat() -> None:
    function = {"name": "read", "description": "d", "parameters": SCHEMA}
    body = {"model": "opus", "messages": HELLO, "tools": [{"type": "function", "function": function}]}
    tool = {**TOOLS[0], "type": "custom", "cache_control": {"type": "ephemeral"}, "defer_loading": False}
    assert parse(tools=[tool]).tools == parse_chat_request(json.dumps(body).encode(), CATALOG).tools


def test_a_conversation_with_tools_pictures_and_thinking_is_read_in_order() -> None:
    request = parse(
        messages=[
            user(text("look", cache_control={"type": "ephemeral"}), PICTURE),
            assistant(THOUGHT, text("Let me see."), REDACTED, CALL, {**CALL, "id": "toolu_2"}),
            user({**RESULT, "is_error": True}, {**RESULT, "tool_use_id": "toolu_2", "content": [text("R"), PICTURE]}),
        ]
    )
    picture = MediaBlock("image", "image/png", PNG_TEXT)
    arguments = '{"path":"/a"}'
    assert request.turns == (
        Message("user", (TextBlock("look"), picture)),
        Message(
            "assistant",
            (
                ThinkingBlock(json.dumps(THOUGHT), "claude-opus-5-5"),
                TextBlock("Let me see."),
                ThinkingBlock(json.dumps(REDACTED), "claude-opus-5-5"),
                ToolUseBlock("toolu_1", "read", arguments),
                ToolUseBlock("toolu_2", "read", arguments),
            ),
        ),
    )
    assert request.prompt.blocks == (
        ToolResultBlock("toolu_1", (TextBlock("R"),), is_error=True),
        ToolResultBlock("toolu_2", (TextBlock("R"), picture)),
    )


@pytest.mark.parametrize(
    ("model", "full"),
    [("sonnet", "claude-sonnet-5-5"), ("claude-haiku[1m]", "claude-haiku-5-5"), ("fake-model", "fake-model")],
)
def test_thinking_is_that_of_the_model_of_the_request(model: str, full: str) -> None:
    request = parse(model=model, messages=[*HELLO, assistant(THOUGHT, text("a")), *HELLO])
    assert request.turns[1].blocks[0] == ThinkingBlock(json.dumps(THOUGHT), full)


@pytest.mark.parametrize(
    "left_out",
    [
        {"type": "thinking", "thinking": "a note", "signature": ""},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        text("  "),
    ],
)
def test_blocks_that_claude_cannot_get_are_left_out(left_out: dict[str, Any]) -> None:
    assert parse(messages=[*HELLO, assistant(left_out, text("a")), *HELLO]).turns[1].blocks == (TextBlock("a"),)


def test_an_answer_of_thinking_alone_is_no_answer() -> None:
    request = parse(messages=[*HELLO, assistant(THOUGHT), *HELLO])
    assert (request.turns, request.prompt.blocks) == ((), (TextBlock("hi"), TextBlock("hi")))


def test_system_messages_are_the_system_prompt_at_the_beginning_and_reminders_later() -> None:
    messages = [{"role": "system", "content": "B"}, *HELLO, {"role": "system", "content": [text("C")]}]
    request = parse(system="A", messages=messages)
    assert request.system == "A\n\nB"
    assert request.prompt.blocks == (TextBlock("hi"), reminder("C"))
    # As pi sends it, to set the effort once more.
    assert parse(messages=[*HELLO, {"role": "system", "content": [], "output_config": {"effort": "low"}}]) == parse()


def test_a_call_without_a_result_gets_one_in_the_history() -> None:
    request = parse(messages=[*HELLO, assistant(CALL), *HELLO])
    assert request.prompt.blocks == (ToolResultBlock("toolu_1", NO_RESULT, is_error=True), TextBlock("hi"))


def test_documents_are_read() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()}
    documents = [
        {"type": "document", "source": pdf, "title": "a.pdf", "citations": {"enabled": False}},
        DOCUMENT,
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
    ]
    assert parse(messages=[user(*documents)]).prompt.blocks == (
        MediaBlock("document", "application/pdf", pdf["data"], "a.pdf"),
        MediaBlock("document", "text/plain", "words"),
        MediaBlock("document", "", "https://example.org/a.pdf"),
    )


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"messages": ["hi"]}, "invalid_type", "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "missing_required_parameter", "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": 7, "content": "hi"}]}, "invalid_type", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "invalid_type", "messages[0].content"),
        ({"messages": [user()]}, "invalid_value", "messages[0].content"),
        ({"messages": [user({"type": "text"})]}, "missing_required_parameter", "messages[0].content[0].text"),
        ({"messages": [user({"type": "search_result"})]}, "unsupported_value", "messages[0].content[0].type"),
        ({"messages": [user(CALL)]}, "unsupported_value", "messages[0].content[0].type"),
        ({"messages": [user(RESULT)]}, "invalid_value", "messages[0].content"),
        ({"messages": [*HELLO, assistant(CALL)]}, "invalid_value", "messages[1]"),
        ({"messages": [*HELLO, assistant(text("I"))]}, "unsupported_value", "messages[1]"),
        ({"messages": [*HELLO, assistant({**CALL, "input": "{}"})]}, "invalid_type", "messages[1].content[0].input"),
        ({"messages": [*HELLO, assistant({**THOUGHT, "signature": None})]}, "invalid_type",
         "messages[1].content[0].signature"),
        ({"messages": [*HELLO, assistant({"type": "redacted_thinking"})]}, "invalid_type",
         "messages[1].content[0].data"),
        ({"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]}, "unsupported_value",
         "messages[0].content[0].source.type"),
        ({"messages": [user({**DOCUMENT, "citations": {"enabled": True}})]},
         "unsupported_parameter", "messages[0].content[0].citations"),
        ({"messages": [user({**DOCUMENT, "context": "b"})]},
         "unsupported_parameter", "messages[0].content[0].context"),
        ({"messages": [*HELLO, assistant(CALL), user({**RESULT, "content": [{"type": "tool_reference"}]})]},
         "unsupported_value", "messages[2].content[0].content[0].type"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"system": [{"type": "image"}]}, "unsupported_value", "system[0].type"),
        ({"system": ["a"]}, "invalid_type", "system[0]"),
        ({"system": 7}, "invalid_type", "system"),
        ({"stop_sequences": "END"}, "invalid_type", "stop_sequences"),
        ({"stop_sequences": ["x"] * 65}, "invalid_value", "stop_sequences"),
        ({"metadata": {"user_id": 7}}, "invalid_type", "metadata.user_id"),
        ({"thinking": {"type": "always"}}, "invalid_value", "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "invalid_type", "thinking.budget_tokens"),
        ({"output_config": {"effort": "minimal"}}, "invalid_value", "output_config.effort"),
        ({"cache_control": {"ttl": "2h"}}, "invalid_value", "cache_control.ttl"),
        (
            {"messages": [user(text("Hi", cache_control={"ttl": "2h"}))]},
            "invalid_value",
            "messages[0].content[0].cache_control.ttl",
        ),
        ({"output_config": {"format": {"type": "xml"}}}, "invalid_value", "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "missing_required_parameter",
         "output_config.format.schema"),
        ({"output_format": {"type": "json_schema", "schema": {"type": "array"}}}, "invalid_value",
         "output_format.schema.type"),
        ({"tools": [7]}, "invalid_type", "tools[0]"),
        ({"tools": [{"name": "read"}]}, "missing_required_parameter", "tools[0].input_schema"),
        ({"tools": [{"name": "a b", "input_schema": SCHEMA}]}, "invalid_value", "tools[0].name"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "unsupported_value", "tools[0].type"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "unsupported_value", "tools[0].type"),
        ({"tool_choice": {"type": "any"}}, "invalid_value", "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "auto"}, "invalid_type", "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "required"}}, "invalid_value", "tool_choice.type"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool"}}, "missing_required_parameter", "tool_choice.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "run"}}, "invalid_value", "tool_choice"),
        ({"container": "c"}, "unsupported_parameter", "container"),
        ({"mcp_servers": [{"type": "url"}]}, "unsupported_parameter", "mcp_servers"),
        ({"temperature": 1.5}, "invalid_value", "temperature"),
        ({"top_k": -1}, "invalid_value", "top_k"),
    ],
)  # fmt: skip
def test_what_is_malformed_or_unsupported_is_refused_at_its_place(
    fields: dict[str, Any], code: str, param: str
) -> None:
    assert refusal_of(**fields) == (code, param)


HOUR, MINUTES = ({"type": "ephemeral", "ttl": ttl} for ttl in ("1h", "5m"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"cache_control": {"type": "ephemeral"}}, None),
        ({"cache_control": MINUTES}, "5m"),
        ({"system": [text("Be brief.", cache_control=HOUR)]}, "1h"),
        ({"tools": [{**TOOLS[0], "cache_control": HOUR}], "cache_control": MINUTES}, "1h"),
        ({"messages": [user(text("Hi", cache_control=MINUTES), text("!", cache_control={"type": "ephemeral"}))]}, "5m"),
        ({"messages": [{"role": "system", "content": [text("x", cache_control=HOUR)]}, *HELLO]}, "1h"),
    ],
)
def test_the_longest_lifetime_of_the_marks_counts(fields: dict[str, Any], expected: str | None) -> None:
    assert parse(**fields).cache_ttl == expected


def test_a_mark_in_the_result_of_a_tool_counts() -> None:
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("seen", cache_control=HOUR)]}
    assert parse(messages=[*HELLO, call, user(result)]).cache_ttl == "1h"


def test_server_tools_are_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="web_search_20250305"):
        parse(tools=[{"type": "web_search_20250305", "name": "web_search"}])


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        parse(model="claude-x")


IGNORED = {
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 5,
    "context_management": {"edits": []},
    "service_tier": "auto",
    "inference_geo": "us",
    "speed": "fast",
    "diagnostics": {},
}


def test_what_has_no_effect_changes_nothing() -> None:
    assert {name for name, field in MESSAGES_FIELDS.items() if field.use is Use.IGNORED} == IGNORED.keys()
    assert parse(**IGNORED, their_own=1, mcp_servers=[], container=None) == parse()


@given(
    st.dictionaries(st.sampled_from(sorted(MESSAGES_FIELDS)), JSON, max_size=3),
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system"])},
            optional={"content": JSON | st.lists(st.fixed_dictionaries(
                {"type": st.sampled_from(["text", "tool_use", "tool_result", "thinking", "image", "document"])},
                optional={"text": JSON, "source": JSON, "content": JSON, "id": JSON, "input": JSON, "thinking": JSON},
            ))},
        ),
    ),
)  # fmt: skip
def test_no_json_value_causes_anything_but_a_client_error(fields: dict[str, Any], messages: list[Any]) -> None:
    body = json.dumps({"model": "sonnet", "messages": messages, **fields}).encode()
    with suppress(BadRequest, ModelNotFound):
        parse_messages_request(body, CATALOG)


@given(st.lists(st.text().filter(str.strip), min_size=1))
def test_the_texts_of_a_conversation_are_the_same_over_messages_and_chat(texts: list[str]) -> None:
    roles = ["user" if (len(texts) - index) % 2 else "assistant" for index in range(len(texts))]
    messages = [{"role": role, "content": words} for role, words in zip(roles, texts, strict=True)]
    of_chat = parse_chat_request(json.dumps({"model": "opus", "messages": messages}).encode(), CATALOG)
    request = parse(messages=messages)
    assert (request.turns, request.prompt) == (of_chat.turns, of_chat.prompt)
