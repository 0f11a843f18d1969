"""The `format`s of JSON Schema: what people write is taken, what is no such thing is not."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.json_schema.formats import has_format
from claude_openai.protocol.json_schema.validation import usable_schema
from claude_openai.protocol.limits.budget import Budget

TAKEN = {
    "date": ["2024-02-29", "2000-02-29", "1999-12-31"],
    "time": ["14:30", "14:30:00", "14:30:00.123Z", "23:59:60Z", "08:00:00+05:30"],
    "date-time": [
        *("2024-02-29T12:00:00Z", "2024-02-29T12:00:00.123456+05:30", "2024-02-29t12:00:00z", "2024-02-29 12:00:00Z"),
        *("2024-02-29T12:00:00", "2024-02-29T12:00:00-0800"),
    ],
    "duration": ["P1D", "PT5M", "P1Y2M3DT4H5M6.7S", "P2W", "-P1D", "PT0S"],
    "email": ["a@b", "jane.doe+tag@example.org", "ü@example.org", '"a b@c"@example.org'],
    "idn-email": ["用户@例子.广告"],
    "hostname": ["localhost", "example.org", "a-b.example.org.", "xn--mller-kva.de", "my_host", "127.0.0.1"],
    "idn-hostname": ["müller.de", "例子.广告"],
    "ipv4": ["127.0.0.1", "255.255.255.255"],
    "ipv6": ["::1", "2001:db8::8a2e:370:7334", "::ffff:192.0.2.1"],
    "uuid": ["3F2504E0-4F89-11D3-9A0C-0305E82C3301", "00000000-0000-0000-0000-000000000000"],
    "uri": [
        *("https://example.org/a?q=1&r=a%20b#c", "http://müller.de/ü", "mailto:a@example.org", "urn:isbn:0451450523"),
        *("file:///etc/hosts", "https://user@[::1]:8000/", "data:text/plain,hi", "https://example.org/{id}"),
    ],
    "uri-reference": ["", "/a?b", "../a", "#a", "https://example.org"],
    "json-pointer": ["", "/a/0/~1x~0"],
    "relative-json-pointer": ["0", "1/a", "2#"],
    "regex": ["^a+$", r"\d{2}", "(?<year>[0-9]+)", "[^]", r"\u{1F600}", "a" * 2000 + "("],
    "color": ["anything at all"],
}
REFUSED = {
    "date": [
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-1-1",
        "2024-00-10",
        "tomorrow",
        "2024-01-01T00:00:00Z",
        "٢٠٢٤-٠١-٠١",
    ],
    "time": ["24:00:00", "12:60", "12", "noon", "12:00:00+25:00"],
    "date-time": ["2024-02-30T12:00:00Z", "2024-02-29", "2024-02-29T25:00:00Z", "2024-02-29_12:00:00Z", "now", ""],
    "duration": ["P", "PT", "1D", "P1S", "P1DT", "five minutes"],
    "email": ["nobody", "@b", "a@", "a b@c.d", "a@b@c"],
    "hostname": ["", "-a.org", "a-.org", "a..b", "a b", "müller.de", "a" * 64, ".".join(["a" * 60] * 5)],
    "idn-hostname": ["a b", ""],
    "ipv4": ["256.1.1.1", "1.2.3", "01.2.3.4", "::1"],
    "ipv6": ["127.0.0.1", "fe80::1%eth0", ":::"],
    "uuid": ["3F2504E0", "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "3F2504E04F8911D39A0C0305E82C3301"],
    "uri": ["example.org", "/a", "https://", "https:///a", "https://a b", "a:", "https://a\n", "https://a/<b>", ""],
    "uri-reference": ["a b", "\x00"],
    "json-pointer": ["a", "/~2"],
    "relative-json-pointer": ["", "-1", "01"],
    "regex": ["(", "*a", "[a"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in TAKEN.items() for text in texts])
def test_what_people_write_is_taken(name: str, text: str) -> None:
    assert has_format(name, text, Budget())


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts])
def test_what_is_no_such_thing_is_refused(name: str, text: str) -> None:
    assert not has_format(name, text, Budget())


@pytest.mark.parametrize(
    "draft", ["", "http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-07/schema#"]
)
def test_a_format_is_checked_in_a_schema_of_any_draft_and_only_of_texts(draft: str) -> None:
    schema = json.dumps({**({"$schema": draft} if draft else {}), "properties": {"a": {"format": "date"}}})
    validator = usable_schema(schema, Budget())
    assert validator.problem({"a": "tomorrow"}, Budget()) == "$.a: 'tomorrow' is not of the format 'date'"
    assert validator.problem({"a": "2024-01-01"}, Budget()) is None
    assert validator.problem({"a": 7}, Budget()) is None


@given(st.sampled_from(sorted(TAKEN)), st.text(max_size=40))
def test_no_text_breaks_a_check(name: str, text: str) -> None:
    assert has_format(name, text, Budget()) in (True, False)


@pytest.mark.parametrize("name", sorted(TAKEN))
@pytest.mark.parametrize("piece", ["a", "a@", "a.", "1:", "P1", "//", "~0/", "-", '"'])
def test_a_long_text_takes_no_long_time(name: str, piece: str) -> None:
    began = time.process_time()
    has_format(name, piece * 200_000, Budget())
    assert time.process_time() - began < 1.0
