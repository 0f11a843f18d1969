"""The examples of generated tests do not depend on the modules that the process has imported."""

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn() -> list[int]:
    found: list[int] = []

    @settings(settings.get_profile("repeated"), max_examples=300, database=None)
    @given(st.integers())
    def draw(number: int) -> None:
        found.append(number)

    draw()
    return found


def test_examples_are_the_same_after_the_import_of_a_module_with_constants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = drawn()
    (tmp_path / "full_of_constants.py").write_text(f"NUMBERS = {list(range(10**6, 10**6 + 200))}\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    importlib.import_module("full_of_constants")
    assert drawn() == before
