"""A folder between its check and its use: what takes its name is found out, and a descriptor keeps to the folder."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from claude_openai.claude.walls.folders import HeldFolder, check_roots, folder_of, root_of
from claude_openai.errors import BadRequest
from claude_openai.protocol.turn.claude_options import Root
from tests.conditions import needs


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """`prefix/work`, and `outside/work` beside it."""
    top = Path(os.path.realpath(tmp_path))
    (top / "prefix" / "work").mkdir(parents=True)
    (top / "outside" / "work").mkdir(parents=True)
    return top


def by_link(top: Path) -> None:
    (top / "prefix" / "work").rename(top / "old")
    (top / "prefix" / "work").symlink_to(top / "outside" / "work")


def by_move(top: Path) -> None:
    (top / "prefix" / "work").rename(top / "prefix" / "old")
    (top / "outside" / "work").rename(top / "prefix" / "work")


def by_prefix(top: Path) -> None:
    (top / "prefix").rename(top / "old")
    (top / "prefix").symlink_to(top / "outside")


def by_prefix_move(top: Path) -> None:
    (top / "prefix").rename(top / "old")
    (top / "outside").rename(top / "prefix")


def to_another_place(top: Path) -> None:
    """The same folder, but no longer in `prefix`."""
    (top / "prefix").rename(top / "outside" / "prefix")
    (top / "prefix").symlink_to(top / "outside" / "prefix")


def by_removal(top: Path) -> None:
    (top / "prefix" / "work").rmdir()


def by_file(top: Path) -> None:
    (top / "prefix" / "work").rmdir()
    (top / "prefix" / "work").write_text("")


exchanges = pytest.mark.parametrize(
    "exchange", [by_link, by_move, by_prefix, by_prefix_move, by_removal, by_file, to_another_place]
)


def root(top: Path) -> Root:
    return root_of(str(top / "prefix" / "work"), "claude.workingDirectory")


def test_same_folder_passes_after_changes_inside(top: Path) -> None:
    checked = root(top)
    (top / "prefix" / "work" / "new").mkdir()
    check_roots([checked])
    check_roots([])


@exchanges
def test_what_takes_the_name_of_a_folder_is_refused_by_the_field(top: Path, exchange: Callable[[Path], None]) -> None:
    first, second = root(top), root_of(str(top / "prefix" / "work"), "claude.addDirs[3]")
    exchange(top)
    with pytest.raises(BadRequest) as raised:
        check_roots([first])
    assert (raised.value.status, raised.value.code, raised.value.param) == (
        400,
        "folder_replaced",
        "claude.workingDirectory",
    )
    with pytest.raises(BadRequest) as raised:
        check_roots([root_of(str(top), "x"), second])
    assert raised.value.param == "claude.addDirs[3]"


@needs("/proc/PID/fd")
@pytest.mark.parametrize("exchange", [by_link, by_move, by_prefix, by_prefix_move])
def test_a_process_starts_in_the_folder_that_was_opened(top: Path, exchange: Callable[[Path], None]) -> None:
    held = HeldFolder()
    descriptor = held.open(str(top / "prefix" / "work"))
    identity = os.fstat(descriptor)
    exchange(top)
    shown = subprocess.run(["/bin/ls", "-di", "."], cwd=folder_of(descriptor), capture_output=True, check=True)
    assert int(shown.stdout.split()[0]) == identity.st_ino
    held.close()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_folder_is_closed_once_by_its_last_user(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldFolder()
    descriptor = held.open(str(top))
    held.close()
    assert not is_open(descriptor)
    assert held.descriptor is None
    held.close()
    # A thread that was abandoned opens it after everybody has left.
    late = HeldFolder()
    late.close()
    opened: list[int] = []
    plain_open = os.open

    def noted_open(path: str, flags: int, mode: int, *, dir_fd: int | None) -> int:
        opened.append(plain_open(path, flags, mode, dir_fd=dir_fd))
        return opened[-1]

    monkeypatch.setattr(os, "open", noted_open)
    with pytest.raises(OSError, match="closed before"):
        late.open(str(top))
    assert [is_open(each) for each in opened] == [False]


def test_a_link_and_a_file_are_not_opened(top: Path) -> None:
    (top / "link").symlink_to(top / "outside")
    (top / "file").write_text("")
    os.mkfifo(top / "fifo")
    for name in ("link", "file", "fifo", "none"):
        with pytest.raises(OSError, match=name):
            HeldFolder().open(str(top / name))
