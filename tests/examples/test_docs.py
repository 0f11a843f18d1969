"""The tests in the documentation, as a user would run them."""

from pathlib import Path
from typing import Final

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
    output = run_pytest(tmp_path, first, *OPTIONS, *WARNINGS, *map(str, paths))
    count = sum(text.count("def test_") for text in MODULES)
    assert f" {count} passed in " in output, output
