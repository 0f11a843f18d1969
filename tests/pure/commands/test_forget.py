"""`claude-openai forget` without a server: the file of its flag or of the variable."""

from pathlib import Path

import pytest
import trio

from claude_openai.commands import main
from claude_openai.state.file import FileState


async def fill(path: Path) -> None:
    await FileState(path).put({"a": b"The prompt", "b": b"2"}, 3600)


@pytest.mark.parametrize("by_flag", [True, False])
def test_forget_without_a_server_empties_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], by_flag: bool
) -> None:
    path = tmp_path / "responses.db"
    trio.run(fill, path)
    flags = ["--responses-file", str(path)] if by_flag else []
    environment = {"TMPDIR": str(tmp_path)} | ({} if by_flag else {"CLAUDE_OPENAI_RESPONSES_FILE": str(path)})
    for count in (2, 0):
        assert main(["forget", *flags], environment) == 0
        assert capsys.readouterr().out == f"{path}: forgot {count} values\n"
    assert b"The prompt" not in path.read_bytes()


def test_forget_creates_no_file_and_fails_on_a_broken_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, environment = tmp_path / "responses.db", {"TMPDIR": str(tmp_path)}
    assert main(["forget"], environment) == 0
    nothing = "no server is running, and neither --responses-file nor --state-url is set: nothing was deleted\n"
    assert capsys.readouterr().out == nothing
    assert main(["forget", "--responses-file", str(path)], environment) == 0
    assert not path.exists()
    path.write_bytes(b"This is no database. " * 100)
    assert main(["forget", "--responses-file", str(path)], environment) != 0
    assert f"cannot empty the store: {path}: file is not a database" in capsys.readouterr().err
