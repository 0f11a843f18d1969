"""The tests in the documentation, as a user would run them."""

from pathlib import Path
from typing import Final

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Answer, Completed, Entry, Passage
from claude_openai.cassettes.lines import header_line, line_of
from claude_openai.protocol.turn.events import Usage
from tests.docs_tables import blocks
from tests.inner_pytest import run_pytest

MODULES: Final = [text for _, text in blocks("python") if "def test_" in text]
OPTIONS: Final = ("-p", "trio", "-o", "trio_mode=true", "-p", "claude_openai.pytest_plugin")
WARNINGS: Final = ("-W", "error", "-W", "ignore:Async generator:ResourceWarning")


def test_tests_of_the_documentation_pass(tmp_path: Path) -> None:
    first, *others = MODULES
    paths = [tmp_path / f"test_{number}.py" for number in range(len(others))]
    for path, text in zip(paths, others, strict=True):
        path.write_text(text)
    write_cassette(tmp_path / "weather.jsonl")
    output = run_pytest(tmp_path, first, *OPTIONS, *WARNINGS, *map(str, paths))
    count = sum(text.count("def test_") for text in MODULES)
    assert f" {count} passed in " in output, output


def write_cassette(path: Path) -> None:
    request = ClientRequest("/v1/responses", {"model": "claude-sonnet", "input": "Weather in Paris"})
    answer = Answer((Passage("text", "Sunny."),), Completed("stop", Usage()))
    path.write_bytes(header_line() + line_of(Entry(request, answer)))
