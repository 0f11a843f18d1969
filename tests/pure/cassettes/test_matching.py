"""Which entry answers a request, and the texts for requests that were not recorded or not sent."""

from typing import Any

import pytest
from hypothesis import given

from claude_openai.cassettes.difference import differences
from claude_openai.cassettes.matching import Cassette, CassetteMismatch, next_answer, unused_turns
from claude_openai.protocol.limits.json_values import spelled, with_whole_numbers
from tests.pure.cassettes.turns_of_cassettes import COMPLETIONS, JSON, RESPONSES, answered, chat, request_of


def lines_of_mismatch(cassette: Cassette, *texts: str, **fields: Any) -> list[str]:
    with pytest.raises(CassetteMismatch) as caught:
        next_answer(cassette, chat(*texts, **fields))
    return str(caught.value).splitlines()


def test_equal_requests_are_answered_in_order_and_others_in_any() -> None:
    paris, rome = chat("Paris"), chat("Rome")
    cassette = Cassette("c", (answered(paris, "first"), answered(rome, "other"), answered(paris, "second")))
    texts = []
    for request in (rome, paris, paris):
        entry, cassette = next_answer(cassette, request)
        texts += [block.text for block in entry.answer.content if hasattr(block, "text")]
    assert texts == ["other", "first", "second"]
    assert cassette.entries == ()


def test_other_request_is_compared_with_the_next_unused_entry() -> None:
    used, following = answered(chat("Hi"), line=2), answered(chat("Hi", "Hello", "Weather in Paris"), line=3)
    _, cassette = next_answer(Cassette("tests/weather.jsonl", (used, following)), chat("Hi"))
    assert lines_of_mismatch(cassette, "Hi", "Hello", "Weather in Rome") == [
        "no turn of tests/weather.jsonl has this request; it differs from the next one, line 3, in:",
        '  messages[2].content: recorded "Weather in Paris", now "Weather in Rome"',
    ]


def test_mismatch_shows_missing_and_additional_values() -> None:
    cassette = Cassette("c", (answered(chat("Hi", "two", tool_choice="auto")),))
    assert lines_of_mismatch(cassette, "Hi", stream=True)[1:] == [
        '  messages[1]: recorded {"role": "user", "content": "two"}, now nothing',
        '  tool_choice: recorded "auto", now nothing',
        "  stream: recorded nothing, now true",
    ]


def test_mismatch_shows_long_texts_around_their_first_difference() -> None:
    start, end = "a" * 1000, "b" * 1000
    cassette = Cassette("c", (answered(chat(f"{start}Paris{end}")),))
    (line,) = lines_of_mismatch(cassette, f"{start}Rome{end}")[1:]
    assert line == (
        f'  messages[0].content: recorded …"{"a" * 20}Paris{"b" * 55}"… (2005 characters), '
        f'now …"{"a" * 20}Rome{"b" * 56}"… (2004 characters)'
    )


def test_mismatch_shows_a_long_object_cut_and_few_of_many_differences() -> None:
    cassette = Cassette("c", (answered(chat("Hi", tools=[{"name": "x" * 200}])),))
    lines = lines_of_mismatch(cassette, *"abcdefgh")
    assert len(lines) == 7
    assert lines[-1] == "  and more"
    (line,) = lines_of_mismatch(cassette, "Hi")[1:]
    assert line.endswith("… (214 characters of JSON), now nothing")
    assert len(line) < 200


@pytest.mark.parametrize(
    ("path", "request_body"),
    [
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "And Rome?"}]}]}),
        (COMPLETIONS, {"prompt": "And Rome?"}),
        (COMPLETIONS, {"prompt": ["And Rome?"]}),
    ],
)
def test_request_after_the_last_entry_is_reported_with_its_last_text(path: str, request_body: Any) -> None:
    with pytest.raises(CassetteMismatch) as caught:
        next_answer(Cassette("c.jsonl", ()), request_of(request_body, path))
    assert str(caught.value) == (
        f"every turn of c.jsonl was used, and the program sent one more request: {path} 'And Rome?'"
    )


def test_unused_turns_are_listed_with_their_lines() -> None:
    cassette = Cassette("c.jsonl", (answered(chat("Hi"), line=2), answered(chat("x" * 100), line=5)))
    assert unused_turns(cassette).splitlines() == [
        "the program did not send these requests of c.jsonl:",
        "  line 2: /v1/chat/completions 'Hi'",
        f"  line 5: /v1/chat/completions '{'x' * 60}…'",
    ]
    assert unused_turns(Cassette("c.jsonl", ())) == ""


@given(JSON, JSON)
def test_values_have_a_difference_if_and_only_if_their_keys_differ(one: Any, other: Any) -> None:
    recorded, now = with_whole_numbers(one), with_whole_numbers(other)
    found = list(differences(recorded, now, "body"))
    assert bool(found) == (spelled(one) != spelled(other))
    assert all(str(each).startswith("body") for each in found)


@given(JSON)
def test_value_has_no_difference_to_itself(value: Any) -> None:
    assert list(differences(value, value)) == []
