"""No secret survives a `Redactor`, and what is no secret does."""

import json
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_openai.logs.redaction import MASK, MAX_TEXT, Redactor

redact = Redactor()

SECRET_KEYS = [
    "Authorization",
    "proxy-authorization",
    "api_key",
    "apiKey",
    "x-api-key",
    "ANTHROPIC_API_KEY",
    "token",
    "access_token",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "session_token",
    "client_secret",
    "Password",
    "passwd",
    "Cookie",
    "Set-Cookie",
    "credentials",
    "private_key",
    "auth",
]

TEMPLATES = [
    "Bearer {}",
    "Authorization: Basic {}",
    "authorization: Digest user={}, realm=x",
    "Cookie: theme=dark; sid={}",
    "Set-Cookie: sid={}; HttpOnly",
    "x-api-key: {}",
    "--api-key {}",
    "--api-key={}",
    '--auth-token "{}"',
    "ANTHROPIC_API_KEY={}",
    "export DB_PASSWORD='{}'",
    '{{"api_key": "{}", "model": "x"}}',
    "{{'password': '{}'}}",
    '{{"password": "a\\" {}"}}',
    '{{"tokens": ["a", "{}"], "n": 1}}',
    '{{"credentials": {{"user": "me", "value": "{}"}}}}',
    '{{\\"api_key\\": \\"{}\\"}}',
    "[('x-api-key', '{}')]",
    "[(b'authorization', b'{}')]",
    "['--api-key', '{}']",
    "Config(host='h', api_key='{}', port=1)",
    'os.environ["GITHUB_TOKEN"] = "{}"',
    "https://user:{}@example.com/path",
    "https://{}@example.com/path",
    "postgres://{}:pw@db/x",
    "https://example.com/?access_token={}&x=1",
    "the password is secret: password: {}",
    'secret: "password": "{}"',
    "token=b'x {}'",
    "secret=token=[1, '{}']",
    "sk-ant-{}",
    " sk-{}",
    "ghp_{0}{0}",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
]

KEY_LIKE = st.from_regex(r"[A-Za-z0-9_]{12,40}", fullmatch=True).map(lambda text: f"Zq{text}")
PLAIN_TEXT = st.text(st.characters(exclude_characters="\"'\\[({", exclude_categories=["Cs"]), max_size=60)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
WRAPPERS = st.lists(
    st.one_of(
        st.sampled_from(["list", "tuple", "json"]),
        st.text(max_size=10).map(lambda key: ("dict", key)),
        LEAVES.map(lambda leaf: ("beside", leaf)),
    ),
    max_size=8,
)


def wrap(value: object, wrappers: list[Any]) -> object:
    """The value deep inside other values."""
    for wrapper in wrappers:
        match wrapper:
            case "list":
                value = [value]
            case "tuple":
                value = ("--verbose", value, 1)
            case "json":
                value = {"arguments": json.dumps(value, default=repr)}
            case ("dict", key):
                value = {"other": 1, key: value}
            case (_, leaf):
                value = [leaf, value, leaf]
    return value


def shown(value: object, *secrets: str) -> str:
    """All that a reader of the log can see of it."""
    cleaned = Redactor(secrets)(value)
    return json.dumps(cleaned) + json.dumps(cleaned, ensure_ascii=False) + repr(cleaned)


@given(st.sampled_from(SECRET_KEYS), KEY_LIKE, WRAPPERS)
def test_a_secret_under_a_secret_key_never_shows_wherever_the_key_is(
    key: str, secret: str, wrappers: list[Any]
) -> None:
    assert secret not in shown(wrap({key: secret}, wrappers))


@given(st.sampled_from(SECRET_KEYS), KEY_LIKE, WRAPPERS, st.booleans())
def test_any_value_of_a_secret_key_never_shows(key: str, secret: str, wrappers: list[Any], is_binary: bool) -> None:
    value = secret.encode() if is_binary else secret
    assert secret not in shown({"a": [{key: wrap(value, wrappers)}]})


@settings(max_examples=25)
@given(KEY_LIKE, PLAIN_TEXT, PLAIN_TEXT)
def test_secret_of_a_known_pattern_never_shows_within_any_text(secret: str, before: str, after: str) -> None:
    shows = [each for each in TEMPLATES if secret in shown(f"{before}{each.format(secret)}\n{after}")]
    assert shows == []


@given(st.sampled_from(TEMPLATES), KEY_LIKE, WRAPPERS)
def test_a_secret_in_a_known_pattern_never_shows_however_deep_the_text(
    template: str, secret: str, wrappers: list[Any]
) -> None:
    text = template.format(secret)
    assert secret not in shown(wrap(text, wrappers))
    assert secret not in shown({text: wrap(text.encode(), wrappers)})


@given(st.text(min_size=6, max_size=40).filter(lambda text: len(set(text)) > 3), WRAPPERS, st.text(max_size=40))
def test_known_secret_never_shows_in_any_string_or_key(secret: str, wrappers: list[Any], around: str) -> None:
    secret = f"Zq{secret}"
    redactor = Redactor([secret])
    cleaned = redactor(wrap({f"{around}{secret}": f"{around}{secret}{around}", "b": secret}, wrappers))
    assert not [text for text in every_string(cleaned) if secret in text]
    assert json.dumps(secret)[1:-1] not in json.dumps(cleaned)


@given(st.integers(MAX_TEXT - 60, MAX_TEXT + 5000), st.sampled_from(TEMPLATES), st.booleans())
def test_a_secret_across_the_cut_leaves_no_half_behind(before: int, template: str, is_given: bool) -> None:
    secret = "Zq7" * 12
    text = "x " * (before // 2) + (secret if is_given else template.format(secret)) + " y" * 20_000
    assert "Zq7Zq7" not in shown(text, *[secret] * is_given)


@given(st.integers(0, 40))
def test_a_secret_at_the_end_of_what_is_read_leaves_no_half_behind_when_the_text_before_it_shrank(before: int) -> None:
    secret = "Zq7" * 12
    text = f"Cookie: {'a' * 10_000}\n{'x' * 20_480}"[: 20_480 - before] + secret + "x" * 20_000
    assert "Zq7Zq7" not in shown(text, secret)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)))
def test_redaction_returns_json_and_keeps_its_argument(value: object) -> None:
    before = repr(value)
    json.dumps(redact(value), allow_nan=False)
    assert repr(value) == before


@given(st.text())
def test_any_text_gives_some_text(text: str) -> None:
    assert isinstance(redact(text), str)


def every_string(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in every_string(item)]
        case dict():
            return [*value, *(text for item in value.values() for text in every_string(item))]
    return []


@pytest.mark.parametrize(
    "value",
    [
        {"max_tokens": 4096, "prompt_tokens": 1, "tokenCount": 3, "max_completion_tokens": "100"},
        {"completion_tokens_details": {"reasoning_tokens": 12, "audio": {"tokens": 0}}},
        {"api_key": None, "use_cookies": True},
        {"author": "me", "keyboard": "qwerty", "key": "value", "monkey": 1},
        {"session_id": "0b8c", "request_id": "req_1", "cwd": "/home/me"},
        "a token of appreciation, no secret at all, and the key to it",
        "max_tokens=4096, total_tokens: 1,234 and {'output_tokens': 5}",
        '{"usage": {"input_tokens": 5, "output_tokens": 7}}',
        "ask-about-risk-based-things, task-list",
        "https://example.com/a?b=c and http://127.0.0.1:8080/v1 and me@example.com",
        ["-p", "hello", "--model", "claude-sonnet-4-5", "--max-tokens", "4096"],
        ["--verbose", "--output-format", "stream-json"],
        "",
        [],
        {},
    ],
)
def test_what_is_no_secret_stays_as_it_is(value: object) -> None:
    assert redact(value) == value


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"api_key": "abc", "model": "x"}', '{"api_key": "[redacted]", "model": "x"}'),
        ('{"token":null,"model":"x"}', '{"token":[redacted],"model":"x"}'),
        ('{"tokens": ["a", {"b": "]"}], "model": "x"}', '{"tokens": [redacted], "model": "x"}'),
        ("A_TOKEN=abc B=c", "A_TOKEN=[redacted] B=c"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"),
        ("https://me:pw@host/x", "https://[redacted]@host/x"),
        ("PASSWORD=p'w\"d x", "PASSWORD=[redacted] x"),
        ("Bearer abc, then", "Bearer [redacted], then"),
        ("secret: password: abc rest", "secret: [redacted] [redacted] rest"),
        ("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}\N{LATIN CAPITAL LETTER I WITH DOT ABOVE} token=abc", None),
    ],
)
def test_the_text_around_a_secret_stays(text: str, masked: str | None) -> None:
    assert redact(text) == (masked or text.replace("abc", MASK))


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (["--api-key", "abc", "-p", "hi"], ["--api-key", MASK, "-p", "hi"]),
        ([[b"x-api-key", b"abc"], [b"host", b"h"]], [["x-api-key", MASK], ["host", "h"]]),
        ({"name": "x-api-key", "value": "abc"}, {"name": "x-api-key", "value": MASK}),
        ({"name": "temperature", "value": "abc"}, {"name": "temperature", "value": "abc"}),
        ({"max_tokens": "abc"}, {"max_tokens": MASK}),
        (
            {"access_tokens": ["abc"], "tokens": {"a": "abc", "b": 1}},
            {"access_tokens": MASK, "tokens": {"a": MASK, "b": 1}},
        ),
        ({b"password": 1, 2: 3, None: 4}, {"password": MASK, "2": 3, "None": 4}),
    ],
)
def test_structures_that_announce_a_secret_are_masked_where_it_stands(value: object, masked: object) -> None:
    assert redact(value) == masked


def test_secrets_shorter_than_six_characters_are_not_looked_for() -> None:
    assert Redactor(["abcde", "abcdef"])("abcde abcdef") == f"abcde {MASK}"


def test_known_secret_is_found_in_escaped_and_quoted_forms() -> None:
    secret = 'a"b/c d\\e'
    assert Redactor([secret])([json.dumps({"x": secret}), "?q=a%22b%2Fc%20d%5Ce"]) == [
        f'{{"x": "{MASK}"}}',
        f"?q={MASK}",
    ]


class Unprintable:
    def __repr__(self) -> NoReturn:
        raise ZeroDivisionError


class Pretender:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        return "Pretender(api_key='abc')"


@dataclass(slots=True)
class Login:
    user: str
    password: str
    hidden: str = field(default="x", repr=False)


Pair = namedtuple("Pair", ["user", "password"])


def test_objects_are_shown_by_their_fields_or_a_masked_repr_that_never_raises() -> None:
    shown = redact(
        [Unprintable(), Pretender(), Login("me", "abc"), Pair("me", "abc"), Path("/a/b"), ValueError("token=abc")]
    )
    assert isinstance(shown, list)
    assert "Unprintable" in str(shown[0])
    assert shown[1:] == [
        f"Pretender(api_key='{MASK}')",
        {"user": "me", "password": MASK},
        {"user": "me", "password": MASK},
        "/a/b",
        f"ValueError('token={MASK}')",
    ]


def test_value_that_contains_itself_is_bounded() -> None:
    knot: list[Any] = []
    knot += [knot] * 10
    assert "[too deep]" in json.dumps(redact(knot)) or "clipped" in json.dumps(redact(knot))


def test_size_is_bounded_in_every_direction() -> None:
    assert redact("x" * 100_000) == "x" * MAX_TEXT + "... [clipped: 100000 characters]"
    assert redact(b"x" * 2_000_000) == "x" * MAX_TEXT + "... [clipped: 1048576 characters] [of 2000000 bytes]"
    assert redact(1 << 100_000) == "[integer of 100001 bits]"
    assert redact([float("nan"), float("-inf")]) == ["nan", "-inf"]
    assert len(json.dumps(redact(["x" * 50_000] * 1000))) < 1_000_000
    assert len(json.dumps(redact(list(range(1_000_000))))) < 1_000_000
    assert len(json.dumps(redact({f"{n}" * 100: n for n in range(20_000)}))) < 1_000_000
