"""Frames as a compliant reader sees them, for any text and any cuts between bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import QueueFull, TurnTimeout
from claude_openai.protocol.wire.sse import COMMENT, DONE, data_frame, encode_json, error_frame
from tests.openai_schema import validate
from tests.sse_reader import SseReader, parse_sse

# Line breaks of every kind some reader honours, halves of surrogate pairs, and bytes that mean something in a frame.
AWKWARD = '\n\r\t\x00\x0b\x0c\x1c\x1d\x1e\x7f\x85\u2028\u2029\ufeff\ud83d\ude00\U0001f600:"\\ '
any_text = st.text(st.characters() | st.sampled_from(AWKWARD))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(any_text, json_values, max_size=5)


def joined(value: Any) -> Any:
    """`value` with surrogate pairs joined, as any JSON parser joins them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if isinstance(value, list):
        return [joined(item) for item in value]
    if isinstance(value, dict):
        return {joined(key): joined(item) for key, item in value.items()}
    return value


@given(json_objects)
def test_any_object_comes_back_from_its_frame(value: dict[str, Any]) -> None:
    # Through the standard encoder too: of two keys that differ only in how a pair is spelled, the last one wins.
    assert parse_sse(data_frame(value)) == [json.loads(json.dumps(value))]


@given(any_text)
def test_any_text_survives_the_wire_up_to_the_joining_of_surrogate_pairs(text: str) -> None:
    assert parse_sse(data_frame({"text": text})) == [{"text": joined(text)}]


@given(json_objects)
def test_a_frame_is_one_line_for_every_notion_of_a_line(value: dict[str, Any]) -> None:
    frame = data_frame(value)
    assert frame.isascii()
    assert frame.startswith(b"data: {")
    assert frame.endswith(b"}\n\n")
    assert len(frame.decode("ascii").splitlines()) == 2
    assert len(frame.splitlines()) == 2


@given(json_objects)
def test_bytes_that_are_json_already_are_framed_as_they_are(value: dict[str, Any]) -> None:
    assert data_frame(encode_json(value)) == data_frame(value)


@given(st.lists(json_objects, max_size=4), st.data())
def test_where_the_transport_cuts_the_bytes_does_not_matter(values: list[dict[str, Any]], data: st.DataObject) -> None:
    wire = COMMENT.join([b"", *map(data_frame, values), DONE])
    whole = parse_sse(wire)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8), label="cuts"))
    reader = SseReader()
    texts = [
        text for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True) for text in reader.feed(wire[start:end])
    ]
    reader.close()
    assert [text if text == "[DONE]" else json.loads(text) for text in texts] == whole
    assert whole == [*(json.loads(json.dumps(value)) for value in values), "[DONE]"]


@given(st.lists(json_objects, max_size=4))
def test_events_appear_with_their_last_byte_and_not_later_when_read_byte_by_byte(values: list[dict[str, Any]]) -> None:
    reader = SseReader()
    for frame in [*map(data_frame, values), DONE]:
        for position in range(len(frame) - 1):
            assert reader.feed(frame[position : position + 1]) == []
        assert len(reader.feed(frame[-1:])) == 1
    reader.close()


def test_json_is_compact_and_escapes_what_is_not_ascii() -> None:
    assert (
        encode_json({"a": [1, None, True], "b": "é\u2028😀"})
        == b'{"a":[1,null,true],"b":"\\u00e9\\u2028\\ud83d\\ude00"}'
    )


def test_half_a_surrogate_pair_is_sent_escaped_and_two_halves_add_up() -> None:
    assert encode_json("\ud83d") == b'"\\ud83d"'
    assert json.loads(encode_json("\ud83d" + "\ude00")) == "😀"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_json({"usage": value})


@pytest.mark.parametrize("payload", [b'{"a":\n1}', b'{"a":1}\n', b'{"a":\r1}'])
def test_bytes_with_a_line_break_are_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        data_frame(payload)


def test_a_comment_is_no_event() -> None:
    reader = SseReader()
    assert reader.feed(COMMENT * 3) == []
    reader.close()
    assert reader.comments == ["keep-alive"] * 3


def test_done_is_an_event_of_its_own() -> None:
    assert parse_sse(COMMENT + DONE) == ["[DONE]"]


def test_an_error_frame_holds_the_error_object_with_all_its_keys() -> None:
    (message,) = parse_sse(error_frame(TurnTimeout("Claude was silent for 300 s.\nThe turn was stopped.")))
    assert message == {
        "error": {
            "message": "Claude was silent for 300 s.\nThe turn was stopped.",
            "type": "timeout_error",
            "param": None,
            "code": "timeout",
        }
    }


@given(any_text, st.none() | any_text)
def test_error_frame_with_any_text_fits_the_schema(message: str, param: str | None) -> None:
    (frame,) = parse_sse(error_frame(QueueFull(message, param=param)))
    validate("ErrorResponse", frame)


@pytest.mark.parametrize("wire", [b"data: {}", b"data: {}\n", b"data: {", b"data: {}\n\ndata", b"data: \xf0\x9f"])
def test_the_reader_of_these_tests_refuses_a_stream_that_ends_inside_an_event(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"inside an event|unexpected end of data"):
        parse_sse(wire)


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_the_reader_of_these_tests_knows_each_line_end_and_joins_data_lines(newline: bytes) -> None:
    wire = newline.join([b": c", b"data:one", b"data: two", b"", b"id: 7", b"", b""])
    for size in (1, 2, len(wire)):
        reader = SseReader()
        texts = [text for start in range(0, len(wire), size) for text in reader.feed(wire[start : start + size])]
        reader.close()
        assert (texts, reader.comments, reader.fields) == (["one\ntwo"], ["c"], ["id"])


def test_the_reader_of_these_tests_refuses_other_fields_and_data_that_is_no_object() -> None:
    with pytest.raises(ValueError, match="only data fields"):
        parse_sse(b"event: delta\ndata: {}\n\n")
    with pytest.raises(ValueError, match="not a JSON object"):
        parse_sse(b"data: [1]\n\n")
