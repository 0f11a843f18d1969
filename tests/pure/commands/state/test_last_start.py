"""The flags of the last server are kept for each TMPDIR, without keys, in a bounded number of files."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from claude_openai.commands.state.last_start import KEPT_FILES, last_start, remember_start
from tests.instances import ONE

SECRET = "a-control-key-7c1d"
SERVER = replace(ONE, control_key=SECRET, argv=("--port", "9000"), variables={"CLAUDE_OPENAI_SPARES": "0"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_each_tmpdir_has_its_own_server_and_no_key_is_stored(home: Path) -> None:
    other = replace(SERVER, argv=("--demo",))
    remember_start(SERVER, Path("/a"))
    remember_start(other, Path("/b"))
    assert last_start(Path("/a")) == replace(SERVER, control_key="")
    assert last_start(Path("/b")) == replace(other, control_key="")
    assert last_start(Path("/c")) is None
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert all(SECRET not in path.read_text() for path in files)


def test_only_the_newest_are_kept(home: Path) -> None:
    for number in range(KEPT_FILES + 3):
        remember_start(SERVER, Path(f"/{number}"))
        for path in (home / ".claude-openai" / "started").iterdir():
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
    kept = [number for number in range(KEPT_FILES + 3) if last_start(Path(f"/{number}"))]
    assert kept == list(range(3, KEPT_FILES + 3))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_damaged_file_is_no_server(home: Path, text: str) -> None:
    remember_start(SERVER, Path("/a"))
    (path,) = (home / ".claude-openai" / "started").iterdir()
    path.write_text(text)
    assert last_start(Path("/a")) is None


def test_home_that_cannot_be_written_does_not_fail(home: Path) -> None:
    (home / ".claude-openai").write_text("a file")
    remember_start(SERVER, Path("/a"))
    assert last_start(Path("/a")) is None
