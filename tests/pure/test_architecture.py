"""ARCHITECTURE.md: its drawing is that of the imports, and the files that it names exist."""

import re

from tests.drawing import ARCHITECTURE, ROOT, with_drawing

TEXT = ARCHITECTURE.read_text("utf-8")


def test_the_drawing_is_that_of_the_imports() -> None:
    assert with_drawing(TEXT) == TEXT


def test_each_file_it_names_exists() -> None:
    repository = ARCHITECTURE.parents[1]
    quoted = " ".join(re.findall(r"`([^`]+)`", TEXT))
    named = re.findall(r"(?<![\w./])(?:[a-z_0-9]+/)*[a-z_0-9]+\.py\b|(?<![\w./])(?:[a-z_0-9]+/)+(?= |$)", quoted)
    missing = [name for name in named if not any((base / name).exists() for base in (repository, repository / ROOT))]
    assert not missing
    assert len(named) > 30
