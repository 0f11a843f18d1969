"""ARCHITECTURE.md and CONTRIBUTING.md: the drawing is that of the imports; named files and commands exist."""

import re
import tomllib

import pytest

from tests.drawing import ARCHITECTURE, ROOT, with_drawing

# A path with a folder or an ending.
FILE = (
    r"(?<![\w./])(?:\.?[a-z_0-9-]+/)*[a-z_0-9-]+\.(?:py|yml|toml)\b"
    r"|(?<![\w./])(?:\.?[a-z_0-9-]+/)+[a-z_0-9-]*(?= |$)"
)
TEXT = ARCHITECTURE.read_text("utf-8")


def test_the_drawing_is_that_of_the_imports() -> None:
    assert with_drawing(TEXT) == TEXT


def quoted_in(name: str) -> list[str]:
    """What stands in code quotes of a document, and the lines of its shell blocks."""
    text = (ARCHITECTURE.parent / name).read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [*re.findall(r"`([^`\n]+)`", text), *"".join(blocks).splitlines()]


@pytest.mark.parametrize(("document", "least"), [("ARCHITECTURE.md", 30), ("CONTRIBUTING.md", 20)])
def test_documents_name_files_that_exist(document: str, least: int) -> None:
    repository = ARCHITECTURE.parents[1]
    found = [re.findall(FILE, part) for part in quoted_in(document)]
    # The tests may run in an environment elsewhere.
    named = [name for names in found for name in names if not name.startswith(".venv/")]
    missing = [name for name in named if not any((base / name).exists() for base in (repository, repository / ROOT))]
    assert not missing
    assert len(named) > least


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_documents_name_commands_that_exist(document: str) -> None:
    repository = ARCHITECTURE.parents[1]
    modules = {name for part in quoted_in(document) for name in re.findall(r"\b(tests\.[a-z_]+)\b", part)}
    paths = [repository / name.replace(".", "/") for name in modules]
    assert paths
    assert [path for path in paths if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists())] == []


def test_sdist_includes_what_the_tests_read() -> None:
    project = tomllib.loads((ARCHITECTURE.parents[1] / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {".ci", ".github", "claude_openai", "docker", "tests", "CHANGELOG.md", "README.md"} <= set(included)


def test_contributing_installs_an_extra_that_exists() -> None:
    (line,) = [part for part in quoted_in("CONTRIBUTING.md") if "pip install" in part]
    project = tomllib.loads((ARCHITECTURE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    (extra,) = re.findall(r"\[(\w+)\]", line)
    assert extra in project["optional-dependencies"]
