"""Which program is run as Claude Code."""

from pathlib import Path

import pytest

from claude_openai.claude.process.program import find_claude


def program(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    return path


def test_a_program_in_this_folder_is_not_looked_for_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = program(tmp_path / "here" / "claude"), program(tmp_path / "bin" / "claude")
    monkeypatch.setenv("PATH", str(elsewhere.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(here.parent)
    assert find_claude("./claude") == here
    assert find_claude("claude") == elsewhere
    assert find_claude("../bin/claude").samefile(elsewhere)
    assert find_claude("~/here/claude") == here
