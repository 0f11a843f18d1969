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

def test_unused(claude_server):
    claude_server.answer("unused")

def test_beyond(claude_server):
    assert ask(claude_server)["error"]["code"] == "script_failed"

def test_raises(claude_server):
    def broken(request):
        raise KeyError("the cause")
    claude_server.answer(broken)
    ask(claude_server)

def test_fails(claude_server):
    claude_server.answer("unused")
    raise ValueError("its own")

def test_fails_by_the_script(claude_server):
    assert "choices" in ask(claude_server), "its own"

def test_skips(claude_server):
    claude_server.answer("unused")
    pytest.skip("in the middle")

@pytest.fixture
def broken(claude_server):
    claude_server.answer("unused")
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
    "unused": ["FAILED"],
    "beyond": ["FAILED"],
    "raises": ["FAILED"],
    "fails": ["FAILED"],
    "fails_by_the_script": ["FAILED"],
    "skips": ["SKIPPED"],
    "never_begins": ["ERROR"],
    "late": ["PASSED", "ERROR"],
    "without": ["PASSED"],
}


MESSAGES = {
    "unused": r"E .*answer 1 .*'unused'.* was not asked for",
    "beyond": r"E .*no answer is left for <request 1: POST /v1/chat/completions 'Hi'",
    "raises": r"E .*KeyError: 'the cause'",
    "fails_by_the_script": r"E .*claude_server: no answer is left for <request 1",
    "late": r"E .*no answer is left for <request 1",
}


def section(output: str, test: str) -> str:
    found = re.search(rf"(?ms)^_+ (?:ERROR at \w+ of )?test_{test} _+$(.*?)^[_=]{{10}}", output)
    assert found is not None, output
    return found[1]


def test_plugin_fails_tests_that_do_not_follow_their_script(tmp_path: Path) -> None:
    entry = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["entry-points"]["pytest11"]["claude_openai"]
    output = run_pytest(tmp_path, MODULE, "-p", entry, "-W", "error")
    lines = re.findall(r"::test_(\w+) ([A-Z]+)", output.partition("short test summary")[0])
    found: dict[str, list[str]] = {}
    for name, outcome in lines:
        found.setdefault(name, []).append(outcome)
    assert found == OUTCOMES, output
    for test, message in MESSAGES.items():
        assert re.search(message, section(output, test)), (test, output)
    # A test that fails for another reason does not report its unused answers.
    assert "was not asked for" not in section(output, "fails")
