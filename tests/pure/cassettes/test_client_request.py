"""What is recorded of a request: fields with an effect, no secrets, no bytes of files, and ids by their order."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.ids import IdNames, rename_ids
from claude_openai.cassettes.masking import make_mask
from claude_openai.logs.redaction import MASK
from tests.pure.cassettes.turns_of_cassettes import CHAT, RESPONSES, chat, request_of

BYTES = b"\x89PNG and more"
BASE64 = base64.b64encode(BYTES).decode()
DIGEST = f"sha256:{hashlib.sha256(BYTES).hexdigest()} ({len(BYTES)} bytes)"


def content_of(*parts: Any) -> Any:
    return request_of({"messages": [{"role": "user", "content": [*parts]}]}).body["messages"][0]["content"]


def test_body_keeps_only_fields_that_determine_the_answer() -> None:
    kept: dict[str, Any] = {
        "model": "claude-sonnet",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "stream": True,
        "max_tokens": 10,
    }
    dropped = {
        "user": "me",
        "metadata": {"a": "b"},
        "safety_identifier": "x",
        "prompt_cache_key": "k",
        "temperature": 0,
        "stream_options": {"include_usage": True},
        "my_own": 1,
        "stop": None,
    }
    assert request_of(kept | dropped).body == kept


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}}, ("image_url", "url")),
        ({"type": "input_image", "image_url": f"data:image/png;base64,{BASE64}"}, ("image_url",)),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": BASE64}}, ("file", "file_data")),
        ({"type": "input_file", "file_data": f"DATA:;base64,{BASE64}"}, ("file_data",)),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
            ("source", "data"),
        ),
        ({"type": "document", "source": {"media_type": "application/pdf", "data": BASE64}}, ("source", "data")),
        ({"type": "image", "data": BASE64, "mimeType": "image/png"}, ("data",)),
        ({"type": "resource", "resource": {"uri": "x:y", "blob": BASE64}}, ("resource", "blob")),
    ],
)
def test_bytes_of_files_become_their_hash_and_size(part: dict[str, Any], place: tuple[str, ...]) -> None:
    (found,) = content_of(part)
    for key in place:
        found = found[key]
    assert found == DIGEST


def test_data_that_is_not_base64_is_hashed_as_text() -> None:
    (found,) = content_of({"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}})
    assert found["image_url"]["url"] == f"sha256:{hashlib.sha256(b'<svg/>').hexdigest()} (6 bytes)"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "data: 1, 2, 3"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a,b.png"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text."}},
        {"type": "json", "data": "A text."},
    ],
)
def test_texts_and_addresses_stay(part: dict[str, Any]) -> None:
    assert content_of(part) == [part]


def test_secrets_in_texts_arguments_and_options_are_masked_and_schemas_stay() -> None:
    call = {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"password":"abc","n":1}'}}
    schema = {"type": "object", "properties": {"password": {"type": "string"}, "input": {"token": {"type": "string"}}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {
        "messages": [
            {"role": "user", "content": "my key is sk-ant-abcdef123456"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "input": {"auth": {"any": "abc"}}}]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_a", "content": '{"api_key": "abcdef", "n": 1}'},
        ],
        "tools": [tool],
        "claude": {"env": {"TOKEN": "abc"}},
    }
    recorded = request_of(body).body
    user, used, called, result = recorded["messages"]
    assert user["content"] == f"my key is {MASK}"
    assert used["content"][0]["input"] == {"auth": {"any": MASK}}
    assert called["tool_calls"][0]["function"]["arguments"] == {"password": MASK, "n": 1}
    assert result["content"] == f'{{"api_key": "{MASK}", "n": 1}}'
    assert recorded["tools"] == [tool]
    assert recorded["claude"] == {"env": {"TOKEN": MASK}}


def test_exact_secrets_are_masked_in_long_texts_too() -> None:
    text = "x" * 300_000 + " my-own-key " + "y" * 300_000
    masked = make_mask(["my-own-key"])(text)
    assert masked == text.replace("my-own-key", MASK)


SECRETS = ["token", "password", "api_key", "Authorization", "cookie", "Bearer", "auth", "sk-abcdefgh1", "://u:p@h"]
PIECES = st.sampled_from([*SECRETS, *"'\"\\,;:=()[]{}<>! \n.-_/@ab1"])


@given(st.lists(PIECES, max_size=12).map("".join))
def test_masked_text_is_a_fixed_point(text: str) -> None:
    mask = make_mask()
    assert mask(mask(text)) == mask(text)


def test_masked_text_is_a_fixed_point_if_one_pass_is_not_enough() -> None:
    mask = make_mask()
    text = "://[redacted]@h-[redacted]<auth@@cookie"
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("name", ["messages", "input"])
def test_empty_fields_of_messages_are_not_compared(name: str) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": "ok"}
    empty = {**message, "refusal": None, "annotations": []}
    assert request_of({name: [message]}).key == request_of({name: [empty]}).key
    assert request_of({name: [message]}).key != request_of({name: [{**message, "refusal": "no"}]}).key


def conversation(call: str, other: str) -> dict[str, Any]:
    calls = [{"id": call, "function": {"name": "f", "arguments": "{}"}}, {"id": other, "function": {"name": "g"}}]
    return {
        "messages": [
            {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": other, "content": "2"},
            {"role": "tool", "tool_call_id": call, "content": "1"},
        ]
    }


def items(call: str, item: str) -> dict[str, Any]:
    return {
        "input": [
            {"type": "function_call", "id": item, "call_id": call, "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": call, "output": "1"},
            {"type": "item_reference", "id": item},
        ]
    }


def parts(call: str, _: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": call, "name": "f", "input": {"id": "mine"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "1"}]},
        ]
    }


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
    ],
)
def test_thinking_of_a_client_is_left_out(thought: dict[str, Any]) -> None:
    text = {"type": "text", "text": "So."}
    bare = request_of({"messages": [{"role": "assistant", "content": [text]}]})
    assert request_of({"messages": [{"role": "assistant", "content": [thought, text]}]}).key == bare.key


def test_fields_of_the_messages_api_are_kept() -> None:
    body = {"stop_sequences": ["END"], "thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}
    assert request_of({**body, "top_k": 5, "metadata": {"user_id": "ann"}}).body == body


def following(call: str, response: str) -> dict[str, Any]:
    output = {"type": "function_call_output", "call_id": call, "output": "1"}
    return {"previous_response_id": response, "input": [output]}


def test_a_request_that_continues_a_response_has_another_key_and_store_changes_none() -> None:
    plain, continuing = {"input": "Yes"}, {"input": "Yes", "previous_response_id": "resp_1"}
    assert request_of(plain).key != request_of(continuing).key
    assert request_of({**plain, "store": False}).key == request_of(plain).key
    assert request_of(dict(reversed(continuing.items()))).key == request_of(continuing).key


@pytest.mark.parametrize("make", [conversation, items, parts, following])
def test_requests_that_differ_only_in_ids_have_one_key(make: Any) -> None:
    one, other = request_of(make("toolu_01", "toolu_02")), request_of(make("call_b", "z"))
    assert one.key == other.key
    assert "toolu_01" not in one.key
    assert one.body != other.body


def test_results_of_other_calls_have_another_key() -> None:
    swapped = conversation("a", "b")
    swapped["messages"][1]["tool_call_id"], swapped["messages"][2]["tool_call_id"] = "a", "b"
    assert request_of(swapped).key != request_of(conversation("a", "b")).key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a":1,"b":2.0}', '{ "b": 2, "a": 1.0 }', True),
        ('{"a":1}', '{"a":true}', False),
        ("{broken", "{broken ", False),
    ],
)
def test_arguments_are_compared_by_value(one: str, other: str, same: bool) -> None:
    def key(arguments: str) -> str:
        calls = [{"id": "c", "function": {"name": "f", "arguments": arguments}}]
        return request_of({"messages": [{"role": "assistant", "tool_calls": calls}]}).key

    assert (key(one) == key(other)) is same


def test_path_and_fields_are_part_of_the_key() -> None:
    assert ClientRequest(CHAT, {}).key != ClientRequest(RESPONSES, {}).key
    assert chat("Hi").key != chat("Hi", stream=True).key
    assert chat("Hi").key == chat("Hi", temperature=1).key


def test_names_of_ids_are_the_same_for_the_same_id_and_keep_the_prefix() -> None:
    names = IdNames()
    ids = ["toolu_01Abc", "call_x", "toolu_02", "toolu_01Abc", "my id", "msg_1", ""]
    assert [names(each) for each in ids] == ["toolu_1", "call_1", "toolu_2", "toolu_1", "id_1", "msg_1", "id_2"]


def test_reserved_names_are_not_used_again() -> None:
    names = IdNames()
    rename_ids(conversation("toolu_7", "id_2"), names.reserve)
    assert [names("toolu_new"), names("new"), names("call_new")] == ["toolu_8", "id_3", "call_1"]
