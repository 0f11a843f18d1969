"""The lines of a cassette: what is written is read back equal, and damage is reported with its line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Answer, CassetteError, Entry
from claude_openai.cassettes.lines import header_line, line_of, read_lines
from tests.pure.cassettes.turns_of_cassettes import ANSWERS, JSON, answered, chat

NAME = "turns.jsonl"


def read(*lines: bytes) -> tuple[Entry, ...]:
    return read_lines(NAME, b"".join((header_line(), *lines)))


def problem(*lines: bytes) -> str:
    with pytest.raises(CassetteError) as caught:
        read(*lines)
    return str(caught.value)


def changed(**parts: Any) -> bytes:
    """A line with other parts of its answer; None removes a part."""
    turn = json.loads(line_of(answered(chat("Hi"))))
    answer = {**turn["answer"], **parts}
    return json.dumps(turn | {"answer": {name: value for name, value in answer.items() if value is not None}}).encode()


@given(st.text(), st.dictionaries(st.text(), JSON, max_size=4), ANSWERS)
def test_line_of_any_turn_is_read_back_equal(path: str, body: dict[str, Any], answer: Answer) -> None:
    entry = Entry(ClientRequest(path, body), answer, line=2)
    line = line_of(entry)
    assert line.count(b"\n") == 1
    assert read(line) == (entry,)


def test_line_with_lone_surrogate_is_read_back_equal() -> None:
    entry = answered(chat("Hi"), "\ud800 and ü")
    assert read(line_of(entry)) == (entry,)


def test_line_shows_letters_of_other_languages_as_they_are() -> None:
    assert "Grüße, 世界" in line_of(answered(chat("Grüße, 世界"))).decode()


def test_entries_know_their_lines() -> None:
    line = line_of(answered(chat("Hi")))
    assert [entry.line for entry in read(line, line)] == [2, 3]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a cassette: 'turns.jsonl' is empty"),
        (b"# My notes\n", "not a cassette: 'turns.jsonl'; expected a first line like {\"cassette\":1,"),
        (b'{"a": 1}\n', "not a cassette: 'turns.jsonl'; expected a first line like"),
        (b"[]", "not a cassette: 'turns.jsonl'; expected a first line like"),
        (
            b'{"cassette":2,"program":"claude-openai 9.0"}\n',
            "turns.jsonl: line 1: format 2; expected 1; it is from claude-openai 9.0",
        ),
        (b'{"cassette":1}\n', "turns.jsonl: line 1: 'program' is a required property"),
        (header_line().strip(), "turns.jsonl: line 1: the line is incomplete; remove it"),
    ],
)
def test_file_that_is_no_cassette_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(CassetteError) as caught:
        read_lines(NAME, data)
    assert str(caught.value).startswith(says)


GOOD = line_of(answered(chat("Hi")))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param([GOOD, GOOD[:-2]], "turns.jsonl: line 3: the line is incomplete; remove it", id="cut"),
        pytest.param(
            [GOOD, b"{oops\n"], "turns.jsonl: line 3: not JSON in UTF-8, or nested too deeply: b'{oops'", id="no JSON"
        ),
        pytest.param([b"\n"], "turns.jsonl: line 2: not JSON in UTF-8, or nested too deeply: b''", id="blank"),
        pytest.param(
            [b"\xff\n"], "turns.jsonl: line 2: not JSON in UTF-8, or nested too deeply: b'\\xff'", id="no UTF-8"
        ),
        pytest.param([b"[" * 1000 + b"]" * 1000 + b"\n"], "turns.jsonl: line 2: not JSON in UTF-8, or", id="deep"),
        pytest.param([b"[]\n"], "turns.jsonl: line 2: [] is not of type 'object'", id="no object"),
        pytest.param([b'{"request":{}}\n'], "turns.jsonl: line 2: 'answer' is a required property", id="no answer"),
        pytest.param(
            [changed(finish_reason="done") + b"\n"],
            "turns.jsonl: line 2: answer.finish_reason: 'done' is not one of ['stop', 'length',",
            id="unknown end",
        ),
        pytest.param(
            [changed(content=[{"type": "text", "text": 7}]) + b"\n"],
            "turns.jsonl: line 2: answer.content[0].text: 7 is not of type 'string'",
            id="no text",
        ),
        pytest.param(
            [changed(content=[{"type": "song", "text": ""}]) + b"\n"],
            "turns.jsonl: line 2: answer.content[0].type: 'song' is not one of ['text', 'thinking', 'tool_call']",
            id="unknown block",
        ),
        pytest.param(
            [changed(content=[{"type": "tool_call", "id": "c", "name": "n", "arguments": "{}"}]) + b"\n"],
            "turns.jsonl: line 2: answer.content[0].arguments: '{}' is not of type 'object'",
            id="arguments as text",
        ),
        pytest.param(
            [changed(usage=None) + b"\n"],
            "turns.jsonl: line 2: answer: 'usage' is a dependency of 'finish_reason'",
            id="no usage",
        ),
        pytest.param(
            [changed(usage=None, finish_reason=None) + b"\n"],
            "turns.jsonl: line 2: answer: expected one of finish_reason, error, cancelled",
            id="no end",
        ),
        pytest.param(
            [changed(cancelled=True) + b"\n"],
            "turns.jsonl: line 2: answer: expected one of finish_reason, error, cancelled",
            id="two ends",
        ),
        pytest.param(
            [changed(note="mine") + b"\n"],
            "turns.jsonl: line 2: answer: Additional properties are not allowed ('note' was unexpected)",
            id="unknown field",
        ),
    ],
)
def test_damaged_line_is_refused_with_its_number(lines: list[bytes], says: str) -> None:
    assert problem(*lines).startswith(says)
