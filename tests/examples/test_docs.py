"""The tests in the documentation, as a user would run them.

Tests of clients that are not installed here stand in files beside this one, and `tests.clients` runs them.
"""

from pathlib import Path
from typing import Final

import pytest

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Answer, Completed, Entry, Passage
from claude_openai.cassettes.lines import header_line, line_of
from claude_openai.protocol.turn.events import Usage
from tests.clients.table import EXAMPLES
from tests.docs_tables import blocks
from tests.inner_pytest import run_pytest

TESTS: Final = [text for _, text in blocks("python") if "def test_" in text]
# Without the docstring.
ELSEWHERE: Final = {path.read_text("utf-8").partition('"""\n\n')[2] for path in EXAMPLES.glob("with_*.py")}
MODULES: Final = [text for text in TESTS if text not in ELSEWHERE]
OPTIONS: Final = ("-p", "trio", "-o", "trio_mode=true", "-p", "claude_openai.pytest_plugin")
WARNINGS: Final = ("-W", "error", "-W", "ignore:Async generator:ResourceWarning")


def test_each_example_that_is_run_elsewhere_is_in_the_documentation() -> None:
    assert set(TESTS) >= ELSEWHERE
    assert len(ELSEWHERE) > 1


@pytest.mark.parametrize("workers", [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.long)])
def test_tests_of_the_documentation_pass(tmp_path: Path, workers: tuple[str, ...]) -> None:
    first, *others = MODULES
    paths = [tmp_path / f"test_{number}.py" for number in range(len(others))]
    for path, text in zip(paths, others, strict=True):
        path.write_text(text)
    write_cassette(tmp_path / "weather.jsonl")
    output = run_pytest(tmp_path, first, *OPTIONS, *WARNINGS, *workers, *map(str, paths))
    count = sum(text.count("def test_") for text in MODULES)
    assert f" {count} passed in " in output, output


def write_cassette(path: Path) -> None:
    request = ClientRequest("/v1/responses", {"model": "claude-sonnet", "input": "Weather in Paris"})
    answer = Answer((Passage("text", "Sunny."),), Completed("stop", Usage()))
    path.write_bytes(header_line() + line_of(Entry(request, answer)))
