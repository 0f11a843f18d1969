"""From the bytes of a request to a TurnRequest: every field of OpenAI's schema has its answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import ApiError, BadRequest, ModelNotFound
from claude_openai.protocol.limits.json_values import MAX_DEPTH
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import Block, TextBlock, ToolUseBlock
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import ToolChoice
from claude_openai.protocol.wire.field_types import Use
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.models import ModelCatalog
from tests.blocks import result_block
from tests.pure.requests import ALMOST_REQUESTS, JSON, fixture

CATALOG = ModelCatalog("sonnet", ("fake-model",))
HELLO = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("read", "write")]


def parse(**fields: Any) -> TurnRequest:
    body = {"model": "claude-opus", "messages": HELLO, **fields}
    return parse_chat_request(json.dumps(body).encode(), CATALOG)


def text_of(block: Block) -> str:
    assert isinstance(block, TextBlock)
    return block.text


def error_of(body: bytes) -> ApiError | None:
    try:
        parse_chat_request(body, CATALOG)
    except ApiError as error:
        return error
    return None


def refusal_of(body: bytes) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        parse_chat_request(body, CATALOG)
    assert raised.value.status == 400
    assert raised.value.message
    return raised.value.code, raised.value.param


def refusal_of_fields(**fields: Any) -> tuple[str | None, str | None]:
    return refusal_of(json.dumps({"model": "claude-opus", "messages": HELLO, **fields}).encode())


def with_text(literal: str) -> bytes:
    return b'{"model":"sonnet","messages":[{"role":"user","content":%s}]}' % literal.encode()


@given(st.one_of(JSON, ALMOST_REQUESTS))
def test_no_json_value_causes_anything_but_a_client_error(value: Any) -> None:
    error = error_of(json.dumps(value).encode())
    if error is not None:
        assert 400 <= error.status < 500
        assert json.dumps(error.body(), ensure_ascii=False).encode()


@given(st.binary())
def test_no_bytes_cause_anything_but_a_client_error(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_chat_request(body, CATALOG)


@given(st.lists(st.text().filter(str.strip), min_size=1))
def test_the_texts_of_a_conversation_survive_the_journey(texts: list[str]) -> None:
    # The last text is the user's, and the roles alternate before it.
    roles = ["user" if (len(texts) - index) % 2 else "assistant" for index in range(len(texts))]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    request = parse(messages=messages)
    turns = (*request.turns, request.prompt)
    assert [(turn.role, text_of(block)) for turn in turns for block in turn.blocks] == list(
        zip(roles, texts, strict=True)
    )


def test_a_plain_request_has_the_defaults() -> None:
    request = parse()
    assert (request.model, request.claude_model) == ("claude-opus", "opus")
    assert (request.system, request.turns) == ("", ())
    assert [text_of(block) for block in request.prompt.blocks] == ["hi"]
    assert (request.tools, request.tool_choice, request.parallel_tool_calls) == ((), ToolChoice("auto"), True)
    assert (request.stream, request.include_usage) == (False, False)
    assert (request.reasoning_effort, request.user, request.metadata) == (None, None, {})


def test_what_is_honoured_is_in_the_request() -> None:
    request = parse(
        messages=[{"role": "developer", "content": "Be brief."}, *HELLO],
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        reasoning_effort="high",
        user="ann",
        metadata={"run": "7"},
    )
    assert request.system == "Be brief."
    assert (request.stream, request.include_usage) == (True, True)
    assert (request.reasoning_effort, request.user, request.metadata) == ("high", "ann", {"run": "7"})


def test_reasoning_effort_may_stand_in_an_object_and_the_official_field_wins() -> None:
    assert parse(reasoning={"effort": "low", "exclude": True}).reasoning_effort == "low"
    assert parse(reasoning={"effort": "low"}, reasoning_effort="max").reasoning_effort == "max"
    assert parse(reasoning={}).reasoning_effort is None


def test_a_value_that_means_nothing_leaves_the_word_to_the_other_name() -> None:
    assert parse(max_completion_tokens=-1, max_tokens=7).max_tokens == 7
    assert parse(reasoning_effort="default", reasoning={"effort": "low"}).reasoning_effort == "low"


def test_a_system_prompt_beside_the_messages_stands_before_theirs() -> None:
    messages = [{"role": "system", "content": "Three."}, *HELLO]
    parts = [{"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}}]
    assert parse(messages=messages, system=parts, instructions="One.").system == "One.\n\nTwo.\n\nThree."


def test_every_field_of_openais_schema_is_in_the_table() -> None:
    schemas = fixture("openai-openapi-subset.json")["components"]["schemas"]

    def properties(schema: dict[str, Any]) -> set[str]:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema
        return set(schema.get("properties", {})).union(*map(properties, schema.get("allOf", [])))

    official = properties(schemas["CreateChatCompletionRequest"])
    assert len(official) > 30
    assert official - FIELDS.keys() == set()
    assert FIELDS.keys() - official == {"reasoning", "claude", "system", "instructions"}


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_of_the_wrong_type_is_refused_with_its_field(name: str) -> None:
    numeric = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
    assert refusal_of_fields(**{name: "warm" if name in numeric else 1.5}) == ("invalid_type", name)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("model", "messages")])
def test_null_is_the_same_as_absent(name: str) -> None:
    assert parse(**{name: None}) == parse()


def test_the_newer_name_of_the_limit_wins() -> None:
    assert parse(max_tokens=7).max_tokens == 7
    assert parse(max_tokens=7, max_completion_tokens=9.0).max_tokens == 9
    assert parse().max_tokens is None


@pytest.mark.parametrize(("value", "stops"), [("END", ("END",)), (["a", "", "\n"], ("a", "\n")), ("", ()), ([], ())])
def test_stop_is_one_sequence_or_several_and_empty_ones_ask_for_nothing(value: Any, stops: tuple[str, ...]) -> None:
    assert parse(stop=value).stop == stops


CACHED = [
    ({"prompt_cache_retention": "24h"}, "1h"),
    ({"prompt_cache_retention": "in_memory"}, "5m"),
    ({"prompt_cache_retention": "in-memory"}, "5m"),
    ({"prompt_cache_options": {"ttl": "30m"}}, "1h"),
    ({"prompt_cache_options": {"ttl": "5m"}}, "5m"),
    ({"prompt_cache_options": {"ttl": "30m"}, "prompt_cache_retention": "in_memory"}, "1h"),
    ({"prompt_cache_options": {"ttl": None}}, None),
]


@pytest.mark.parametrize(("fields", "expected"), CACHED)
def test_the_cache_keeps_a_prompt_as_long_as_asked_or_an_hour(fields: dict[str, Any], expected: str | None) -> None:
    assert parse(**fields).cache_ttl == expected


def test_the_clients_user_has_two_names_of_which_the_older_wins() -> None:
    assert parse(safety_identifier="ann").user == "ann"
    assert parse(safety_identifier="ann", user="bob").user == "bob"


def test_a_call_that_is_demanded_leaves_no_place_for_an_answer_with_a_form() -> None:
    form = {"response_format": {"type": "json_object"}, "tools": [{"type": "function", "function": {"name": "look"}}]}
    assert parse(**form).output is not None
    assert parse(**form, tool_choice="required").output is None


def test_undocumented_fields_are_ignored() -> None:
    assert parse(chat_template_kwargs={"a": 1}, top_k=4, id="x") == parse()


HARMLESS = [
    ("n", 1), ("n", 1.0), ("stop", []), ("stop", ""), ("tools", []), ("tool_choice", "auto"),
    ("functions", []), ("function_call", {}), ("function_call", "auto"),
    ("response_format", {"type": "text"}), ("logprobs", False),
    ("top_logprobs", 0), ("modalities", ["text"]), ("stream_options", {"include_usage": None}),
    ("temperature", 0), ("temperature", 2), ("top_p", 0.5), ("frequency_penalty", -2),
    ("presence_penalty", 2.0), ("seed", -1), ("seed", 2**63 - 1), ("logit_bias", {"50256": -100}), ("store", False),
    ("service_tier", "auto"), ("verbosity", "low"),
    ("prompt_cache_retention", ""), ("prompt_cache_options", {"mode": "implicit"}), ("moderation", {}),
    ("prediction", {"type": "content", "content": "x"}), ("parallel_tool_calls", True),
    ("max_tokens", -1), ("max_completion_tokens", -1), ("reasoning_effort", ""), ("reasoning_effort", "default"),
    ("reasoning_effort", "auto"), ("reasoning", {"effort": "auto"}), ("verbosity", ""), ("service_tier", ""),
    ("tool_choice", ""), ("system", ""), ("system", []), ("instructions", " "),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_a_harmless_value_changes_nothing(name: str, value: Any) -> None:
    assert parse(**{name: value}) == parse()


REFUSED = [
    ("n", 2, "unsupported_value", "n"),
    ("logprobs", True, "unsupported_parameter", "logprobs"),
    ("top_logprobs", 3, "unsupported_parameter", "top_logprobs"),
    ("modalities", ["text", "audio"], "unsupported_value", "modalities"),
    ("audio", {"voice": "alloy", "format": "wav"}, "unsupported_parameter", "audio"),
]
INVALID = [
    ("web_search_options", {}, "unsupported_value", "web_search_options"),
    ("web_search_options", "yes", "invalid_type", "web_search_options"),
    ("messages", [], "invalid_value", "messages"),
    ("messages", "hi", "invalid_type", "messages"),
    ("messages", [123], "invalid_type", "messages[0]"),
    ("messages", [{}], "missing_required_parameter", "messages[0].role"),
    ("stream", "true", "invalid_type", "stream"),
    ("stream", 1, "invalid_type", "stream"),
    ("stream_options", {"include_usage": "yes"}, "invalid_type", "stream_options.include_usage"),
    ("n", 0, "invalid_value", "n"),
    ("n", True, "invalid_type", "n"),
    ("max_tokens", 0, "invalid_value", "max_tokens"),
    ("max_completion_tokens", -2, "invalid_value", "max_completion_tokens"),
    ("system", [{"type": "image_url"}], "unsupported_value", "system[0].type"),
    ("system", [7], "invalid_type", "system[0]"),
    ("temperature", 2.1, "invalid_value", "temperature"),
    ("temperature", True, "invalid_type", "temperature"),
    ("top_p", -0.1, "invalid_value", "top_p"),
    ("frequency_penalty", 3, "invalid_value", "frequency_penalty"),
    ("seed", 10**19, "invalid_value", "seed"),
    ("top_logprobs", 21, "invalid_value", "top_logprobs"),
    ("prompt_cache_options", {"ttl": 3}, "invalid_type", "prompt_cache_options.ttl"),
    ("reasoning_effort", "enormous", "invalid_value", "reasoning_effort"),
    ("reasoning", {"effort": "enormous"}, "invalid_value", "reasoning.effort"),
    ("reasoning", {"effort": 3}, "invalid_type", "reasoning.effort"),
    ("service_tier", "gold", "invalid_value", "service_tier"),
    ("verbosity", "chatty", "invalid_value", "verbosity"),
    ("safety_identifier", "s" * 65, "invalid_value", "safety_identifier"),
    ("metadata", {str(i): "" for i in range(17)}, "invalid_value", "metadata"),
    ("metadata", {"k" * 65: ""}, "invalid_value", "metadata"),
    ("metadata", {"k": 1}, "invalid_type", "metadata.k"),
    ("metadata", {"k": "v" * 513}, "invalid_value", "metadata.k"),
    ("logit_bias", {"5": 101}, "invalid_value", "logit_bias.5"),
    ("logit_bias", {"5": "a"}, "invalid_type", "logit_bias.5"),
    ("modalities", ["smell"], "invalid_value", "modalities[0]"),
    ("modalities", [1], "invalid_type", "modalities[0]"),
    ("stop", ["END", 1], "invalid_type", "stop[1]"),
    ("stop", "x" * 1001, "invalid_value", "stop"),
    ("stop", ["x" * 1000, "x" * 1001], "invalid_value", "stop[1]"),
    ("stop", ["a", "b", "c", "d", "e"], "invalid_value", "stop"),
    ("max_tokens", 1.5, "invalid_type", "max_tokens"),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {}},
        "missing_required_parameter",
        "response_format.json_schema.name",
    ),
    ("claude", "all", "invalid_type", "claude"),
    ("claude", {"toolMode": "every"}, "invalid_value", "claude.toolMode"),
    ("tools", {"type": "function"}, "invalid_type", "tools"),
    ("tools", [TOOLS[0], {"type": "function"}], "missing_required_parameter", "tools[1].function"),
    ("tool_choice", "always", "invalid_value", "tool_choice"),
    ("tool_choice", "required", "invalid_value", "tool_choice"),
    ("tool_choice", {"type": "function", "function": {"name": "read"}}, "invalid_value", "tool_choice"),
    ("parallel_tool_calls", "no", "invalid_type", "parallel_tool_calls"),
    ("response_format", {}, "missing_required_parameter", "response_format.type"),
    ("response_format", {"type": "xml"}, "invalid_value", "response_format.type"),
]


@pytest.mark.parametrize(("name", "value", "code", "param"), [*REFUSED, *INVALID])
def test_what_cannot_be_done_is_refused_at_its_place(name: str, value: Any, code: str, param: str) -> None:
    assert refusal_of_fields(**{name: value}) == (code, param)


def test_every_field_the_table_calls_refused_has_a_refused_value() -> None:
    assert {name for name, field in FIELDS.items() if field.use is Use.REFUSED} == {row[0] for row in REFUSED}


@pytest.mark.parametrize("model", [b"", b'"model": null,', b'"model": "",'])
def test_a_missing_model_is_refused_in_openais_words(model: bytes) -> None:
    with pytest.raises(BadRequest, match="you must provide a model parameter") as raised:
        parse_chat_request(b"{" + model + b'"messages": []}', CATALOG)
    assert (raised.value.code, raised.value.param) == (None, "model")


@pytest.mark.parametrize("messages", [b"", b', "messages": null'])
def test_missing_messages_are_refused_in_openais_words(messages: bytes) -> None:
    with pytest.raises(BadRequest, match=r"Missing required parameter: 'messages'\.") as raised:
        parse_chat_request(b'{"model": "sonnet"' + messages + b"}", CATALOG)
    assert (raised.value.code, raised.value.param) == ("missing_required_parameter", "messages")


def test_an_unknown_model_is_a_404() -> None:
    with pytest.raises(ModelNotFound) as raised:
        parse(model="gpt-4o", messages=[{"role": "nobody"}])
    assert raised.value.param == "model"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b'{"model": "sonnet",}',
        b"\xff\xfe{}",
        with_text('"\xe9"').replace(b"\xc3", b""),
        b'{"model": "sonnet", "temperature": NaN}',
        b'{"model": "sonnet", "x": -Infinity}',
        b'{"model": "sonnet", "x": 1e999}',
        b'{"model": "sonnet", "x": ' + b"7" * 5000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_json_object_is_refused_as_a_whole(body: bytes) -> None:
    assert refusal_of(body) == ("invalid_json", None)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_body_nesting_is_limited_to_what_recursion_can_walk() -> None:
    def with_call(depth: int) -> list[Any]:
        call = {"type": "tool_use", "id": "a", "name": "b", "input": nested(depth)}
        result = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
        return [*HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]

    assert parse(messages=with_call(MAX_DEPTH - 4)).turns
    for depth in (MAX_DEPTH - 3, 900):
        assert refusal_of_fields(messages=with_call(depth)) == ("invalid_json", None)
    assert refusal_of_fields(x=nested(MAX_DEPTH + 1)) == ("invalid_json", None)


def test_a_byte_order_mark_is_tolerated() -> None:
    assert parse_chat_request(b"\xef\xbb\xbf" + with_text('"hi"'), CATALOG).claude_model == "sonnet"


def test_the_last_of_two_equal_keys_counts() -> None:
    body = with_text('"hi"').replace(b'"model":"sonnet"', b'"model":7,"model":"haiku"')
    assert parse_chat_request(body, CATALOG).model == "haiku"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"a": "half \ud83d here"}, {"a": "half \ufffd here"}),
        (
            {"a": ["\udfff", {"b": "\ud800x", "c": "\U0001f600"}]},
            {"a": ["\ufffd", {"b": "\ufffdx", "c": "\U0001f600"}]},
        ),
        ({"a": {"\ud800": "v", "k": [[["\udc00"]]]}}, {"a": {"\ufffd": "v", "k": [[["\ufffd"]]]}}),
        ({"\ud800": 1, "x": r"\ud800"}, {"\ufffd": 1, "x": r"\ud800"}),
    ],
)
def test_half_of_a_surrogate_pair_is_replaced(sent: dict[str, Any], read: dict[str, Any]) -> None:
    assert load_object(json.dumps(sent).encode()) == read


def test_a_whole_surrogate_pair_is_a_character() -> None:
    request = parse_chat_request(with_text(r'"\ud83d\ude00"'), CATALOG)
    assert [text_of(block) for block in request.prompt.blocks] == ["\U0001f600"]


def test_opencodes_title_request_is_understood() -> None:
    request = parse_chat_request(
        json.dumps(fixture("opencode-requests.json")["title_request"]["body"]).encode(), CATALOG
    )
    assert (request.claude_model, request.stream, request.include_usage) == ("fake-model", True, True)
    assert request.system.startswith("You are a title generator.")
    assert [text_of(b) for b in request.prompt.blocks] == ["Generate a title for this conversation:\n", '"say hi"']


@pytest.mark.parametrize(
    ("choice", "offered", "read"),
    [
        (None, ["read", "write"], ToolChoice("auto")),
        ("auto", ["read", "write"], ToolChoice("auto")),
        ("required", ["read", "write"], ToolChoice("required")),
        ("none", [], ToolChoice("none")),
        ({"type": "function", "function": {"name": "write"}}, ["write"], ToolChoice("required", "write")),
    ],
)
def test_the_tools_that_claude_is_to_see_are_those_of_the_choice(choice: Any, offered: list[str], read: Any) -> None:
    request = parse(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    assert [tool.name for tool in request.tools] == offered
    assert request.tool_choice == read
    assert not request.parallel_tool_calls


@pytest.mark.parametrize("name", ["main_request", "tool_turn_request_1", "tool_turn_request_2_with_results"])
def test_opencodes_tools_are_taken_in_their_order_with_every_key_of_their_schemas(name: str) -> None:
    body = fixture("opencode-requests.json")[name]["body"]
    request = parse_chat_request(json.dumps(body).encode(), CATALOG)
    sent = [tool["function"] for tool in body["tools"]]
    assert len(sent) == 10
    assert [(tool.name, tool.description) for tool in request.tools] == [(f["name"], f["description"]) for f in sent]
    # As text, so that the order of the keys counts too.
    assert [json.dumps(tool.schema) for tool in request.tools] == [json.dumps(f["parameters"]) for f in sent]
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice("auto"), True)


def test_opencodes_results_are_the_prompt_after_the_calls() -> None:
    body = fixture("opencode-requests.json")["tool_turn_request_2_with_results"]["body"]
    request = parse_chat_request(json.dumps(body).encode(), CATALOG)
    question, answer = request.turns
    assert (question.role, answer.role, request.prompt.role) == ("user", "assistant", "user")
    assert answer.blocks == (
        ToolUseBlock("call_fake1_0", "read", '{"filePath":"/home/user/project"}'),
        ToolUseBlock("call_fake1_1", "glob", '{"pattern":"*.txt"}'),
    )
    results = [message for message in body["messages"] if message["role"] == "tool"]
    assert request.prompt.blocks == tuple(result_block(m["tool_call_id"], m["content"]) for m in results)
