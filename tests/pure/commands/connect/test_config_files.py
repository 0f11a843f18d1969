"""Reading and replacing a configuration file of another program."""

import os
from pathlib import Path

import pytest

from claude_openai.commands.connect.config_files import read_config, replace_config
from claude_openai.commands.connect.documents import MergeRefused


def test_a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("old")
    path.chmod(0o640)
    replace_config(read_config(path), "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_of_a_new_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "settings"
    replace_config(read_config(path), "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    fifo, large, binary, twin = (tmp_path / name for name in ("fifo", "large", "binary", "twin"))
    os.mkfifo(fifo)
    large.write_bytes(b" " * (1024 * 1024 + 1))
    binary.write_bytes(b"\xff")
    twin.hardlink_to(binary)
    for path in (fifo, large, tmp_path, binary, twin):
        with pytest.raises(MergeRefused):
            _ = read_config(path).text


def test_a_file_that_changes_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("old")
    read = read_config(path)
    path.write_text("somebody else's")
    with pytest.raises(MergeRefused, match="at the same time"):
        replace_config(read, "new")
    assert path.read_text() == "somebody else's"
    absent = read_config(tmp_path / "absent")
    absent.path.write_text("somebody else's")
    with pytest.raises(MergeRefused):
        replace_config(absent, "new")
    assert absent.path.read_text() == "somebody else's"
