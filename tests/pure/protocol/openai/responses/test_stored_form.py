"""The form of stored responses and items outside of memory: reading, writing, and damaged values."""

import json
from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, strategies

from claude_openai.protocol.openai.responses.stored_form import (
    KeptInput,
    StoredForm,
    decode_item,
    encode_item,
    item_name,
    response_name,
)

ITEM = {"id": "msg_1", "type": "message", "content": [{"text": "\u2028 \ud83d"}]}
RESPONSE: dict[str, Any] = {"id": "resp_1", "status": "completed", "output": [ITEM], "previous_response_id": None}
FORM = StoredForm.of(RESPONSE, KeptInput.of([{"role": "user", "content": "Hi"}, {"role": "user", "content": "Ho"}]))
VALUE = FORM.encode()


def test_a_value_is_read_as_it_was_written() -> None:
    assert StoredForm.decode(VALUE, "resp_1") == FORM
    begun = StoredForm.of({**RESPONSE, "status": "queued", "previous_response_id": "resp_0"}, KeptInput.of([]))
    whole = replace(begun, earlier=("resp_0", "resp_9"), owner="server")
    assert StoredForm.decode(whole.encode(), "resp_1") == whole
    assert decode_item(encode_item(ITEM), "msg_1") == ITEM


def test_names_differ_by_caller_and_kind() -> None:
    names = {name(caller, "x") for name in (response_name, item_name) for caller in ("me", "other")}
    assert len(names) == 4


@given(strategies.integers(0, len(VALUE) - 1), strategies.integers(1, 255))
def test_a_value_with_another_byte_is_an_error(index: int, change: int) -> None:
    damaged = bytearray(VALUE)
    damaged[index] ^= change
    try:
        read = StoredForm.decode(bytes(damaged), "resp_1")
    except ValueError:
        return
    # The checksum covers the body, not the header.
    assert (read.json, read.input.json, read.output) in [(FORM.json, FORM.input.json, FORM.output)]


@given(strategies.integers(0, len(VALUE) - 1))
def test_a_value_that_was_cut_off_is_an_error(size: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that of JSON too
        StoredForm.decode(VALUE[:size], "resp_1")


def value_of(body: bytes, **header: Any) -> bytes:
    return b"1\n%s\n%s" % (json.dumps({"crc": crc32(body), **header}).encode(), body)


ABOUT: dict[str, Any] = {"count": 0, "earlier": [], "owner": ""}


@pytest.mark.parametrize(
    ("response", "header"),
    [
        (RESPONSE, {"count": "0"}),
        (RESPONSE, {"owner": None}),
        (RESPONSE, {"earlier": [1]}),
        (RESPONSE, {"earlier": None}),
        ([], {}),
        ({**RESPONSE, "id": "resp_2"}, {}),
        ({**RESPONSE, "status": None}, {}),
        ({**RESPONSE, "output": None}, {}),
        ({**RESPONSE, "output": [{"id": "msg_1"}]}, {}),
        ({**RESPONSE, "output": ["msg_1"]}, {}),
        ({**RESPONSE, "previous_response_id": 1}, {}),
        ({name: value for name, value in RESPONSE.items() if name != "previous_response_id"}, {}),
    ],
)
def test_a_value_of_another_form_is_an_error(response: Any, header: dict[str, Any]) -> None:
    body = json.dumps(response).encode()
    whole = value_of(json.dumps(RESPONSE).encode(), size=len(json.dumps(RESPONSE)), **ABOUT)
    assert StoredForm.decode(whole, "resp_1").output == (ITEM,)
    with pytest.raises(ValueError):  # noqa: PT011 - that of JSON too
        StoredForm.decode(value_of(body, **{"size": len(body), **ABOUT, **header}), "resp_1")


@pytest.mark.parametrize(
    "value", [b"", b"1", b"2\n{}\n{}", b"1\n[]\n{}", value_of(b"[]"), value_of(b'{"id": "msg_1"}'), VALUE]
)
def test_an_item_of_another_form_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that of JSON too
        decode_item(value, "msg_1")
    with pytest.raises(ValueError, match="another item"):
        decode_item(encode_item(ITEM), "msg_2")


def test_failed_form_differs_in_status_and_error_only() -> None:
    begun = StoredForm.of({**RESPONSE, "status": "in_progress", "error": None}, FORM.input)
    failed = begun.failed()
    assert (failed.status, failed.output, failed.input) == ("failed", (ITEM,), FORM.input)
    assert json.loads(failed.json)["error"]["code"] == "server_error"
