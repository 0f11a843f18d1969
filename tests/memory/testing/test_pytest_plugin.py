"""The fixture `claude_server` in a pytest of its own: a test that does not follow its script fails, and fails once."""

import re
import tomllib
from pathlib import Path

from tests.inner_pytest import run_pytest

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
MODULE = """
import pytest

def ask(claude):
    body = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
    return claude.http().post("/chat/completions", json=body).json()

def test_followed(claude_server):
    claude_server.answer("Hello")
    assert ask(claude_server)["choices"][0]["message"]["content"] == "Hello"
    assert claude_server.last.prompt == "Hi"

def test_left_over(claude_server):
    claude_server.answer("for nobody")

def test_beyond(claude_server):
    assert ask(claude_server)["error"]["code"] == "script_failed"

def test_raises(claude_server):
    def broken(request):
        raise KeyError("the cause")
    claude_server.answer(broken)
    ask(claude_server)

def test_fails(claude_server):
    claude_server.answer("for nobody")
    raise ValueError("its own")

def test_fails_by_the_script(claude_server):
    assert "choices" in ask(claude_server), "its own"

def test_skips(claude_server):
    claude_server.answer("for nobody")
    pytest.skip("in the middle")

@pytest.fixture
def broken(claude_server):
    claude_server.answer("for nobody")
    raise ValueError("before the test")

def test_never_begins(broken): pass

@pytest.fixture
def late(claude_server):
    yield
    ask(claude_server)

def test_late(late): pass

def test_without(): pass
"""
OUTCOMES = {
    "followed": ["PASSED"],
    "left_over": ["FAILED"],
    "beyond": ["FAILED"],
    "raises": ["FAILED"],
    "fails": ["FAILED"],
    "fails_by_the_script": ["FAILED"],
    "skips": ["SKIPPED"],
    "never_begins": ["ERROR"],
    "late": ["PASSED", "ERROR"],
    "without": ["PASSED"],
}


SAID = {
    "left_over": r"E .*answer 1 .*'for nobody'.* was not asked for",
    "beyond": r"E .*no answer is left for <request 1: POST /v1/chat/completions 'Hi'",
    "raises": r"E .*KeyError: 'the cause'",
    "fails_by_the_script": r"E .*claude_server: no answer is left for <request 1",
    "late": r"E .*no answer is left for <request 1",
}


def section(output: str, test: str) -> str:
    found = re.search(rf"(?ms)^_+ (?:ERROR at \w+ of )?test_{test} _+$(.*?)^[_=]{{10}}", output)
    assert found is not None, output
    return found[1]


def test_each_test_has_the_outcome_that_it_deserves_and_says_what_was_not_followed(tmp_path: Path) -> None:
    entry = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["entry-points"]["pytest11"]["claude_openai"]
    output = run_pytest(tmp_path, MODULE, "-p", entry, "-W", "error")
    lines = re.findall(r"::test_(\w+) ([A-Z]+)", output.partition("short test summary")[0])
    found: dict[str, list[str]] = {}
    for name, outcome in lines:
        found.setdefault(name, []).append(outcome)
    assert found == OUTCOMES, output
    for test, words in SAID.items():
        assert re.search(words, section(output, test)), (test, output)
    # The answers left over are no news of a test that fails of itself.
    assert "was not asked for" not in section(output, "fails")
