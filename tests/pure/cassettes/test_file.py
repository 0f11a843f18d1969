"""Files of cassettes: their mode, what is refused, and what a second server finds."""

import os
import stat
from pathlib import Path

import pytest

from claude_openai.cassettes.entry import CassetteError
from claude_openai.cassettes.file import open_for_append, read_cassette
from claude_openai.cassettes.lines import header_line, line_of
from tests.pure.cassettes.turns_of_cassettes import answered, chat

LINE = line_of(answered(chat("Hi")))


def refusal(path: Path) -> str:
    with pytest.raises(CassetteError) as caught:
        open_for_append(path)
    return str(caught.value)


def test_new_file_has_a_header_and_is_private_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "turns.jsonl"
    before = os.umask(0)
    try:
        fd, entries = open_for_append(path)
    finally:
        os.umask(before)
    os.close(fd)
    assert entries == ()
    assert path.read_bytes() == header_line()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", header_line(), header_line() + LINE])
def test_cassette_is_continued_and_keeps_its_mode(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "turns.jsonl"
    path.write_bytes(content)
    path.chmod(0o644)
    fd, entries = open_for_append(path)
    os.write(fd, LINE)
    os.close(fd)
    assert path.read_bytes() == (content or header_line()) + LINE
    assert len(entries) == content.count(LINE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.line for entry in read_cassette(path).entries] == [2, 3][: len(entries) + 1]


@pytest.mark.parametrize(
    "content", [b"# Notes of mine\n", b'{"cassette":9,"program":"x"}\n', header_line() + LINE[:-9]]
)
def test_file_that_is_no_whole_cassette_is_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(content)
    assert "notes.md" in refusal(path)
    assert path.read_bytes() == content


def test_file_in_use_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    fd, _ = open_for_append(path)
    assert refusal(path) == f"cannot record to {str(path)!r}: another server is recording to it"
    os.close(fd)
    os.close(open_for_append(path)[0])


def test_link_folder_and_pipe_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "link").startswith("cannot record to")
    assert not target.exists()
    assert refusal(tmp_path).startswith("cannot record to")
    assert (
        refusal(tmp_path / "pipe")
        == f"cannot record to {str(tmp_path / 'pipe')!r}: it is not a regular file of this user"
    )


def test_missing_cassette_is_reported_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    with pytest.raises(CassetteError, match=r"cannot read the cassette .*none.jsonl': No such file"):
        read_cassette(path)
