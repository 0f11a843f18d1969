"""The files of a running server: who may own them, and which ones are ignored."""

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from fcntl import LOCK_EX, LOCK_SH, flock
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.commands.instance import lock as claim_module
from claude_openai.commands.instance.lock import claiming, remove_left_behind
from claude_openai.commands.instance.record import (
    AlreadyRunning,
    Instance,
    UnsafeFileError,
    find_instance,
    instance_folder,
    is_claimed,
    pid_file,
)
from claude_openai.errors import StartError
from tests.conditions import needs
from tests.instances import ONE

NAMES = ("claude-openai.json", "claude-openai.pid", "claude-openai.port")


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).touch(0o600)
    (folder / name).write_text(text)


def left_behind(folder: Path, told: Instance = ONE) -> None:
    """The files of a server that was killed."""
    write(folder, "claude-openai.pid", f"{told.pid}\n")
    write(folder, "claude-openai.port", f"{told.port}\n")
    write(folder, "claude-openai.json", json.dumps(asdict(told)))


@contextmanager
def locked(folder: Path, kind: int = LOCK_EX) -> Iterator[int]:
    with (folder / "claude-openai.pid").open("rb") as file:
        flock(file, kind)
        yield file.fileno()


def test_a_server_is_found_for_as_long_as_it_holds_its_files(tmp_path: Path) -> None:
    assert not is_claimed(tmp_path)
    with claiming(tmp_path) as claim:
        assert find_instance(tmp_path) is None
        assert is_claimed(tmp_path)
        claim.publish(ONE)
        assert find_instance(tmp_path) == ONE
        assert sorted(path.name for path in tmp_path.iterdir()) == list(NAMES)
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
        assert pid_file(tmp_path).read_text() == f"{os.getpid()}\n"
        assert (tmp_path / "claude-openai.port").read_text() == "8000\n"
    assert find_instance(tmp_path) is None
    assert not is_claimed(tmp_path)
    assert list(tmp_path.iterdir()) == []


texts = st.text(st.characters(), max_size=8)


@given(argv=st.lists(texts).map(tuple), cwd=texts, log_file=st.none() | texts)
def test_published_instance_is_the_instance_found(argv: tuple[str, ...], cwd: str, log_file: str | None) -> None:
    told = replace(ONE, argv=argv, cwd=cwd, log_file=log_file)
    with TemporaryDirectory() as folder, claiming(Path(folder)) as claim:
        claim.publish(told)
        assert find_instance(Path(folder)) == told


def test_a_second_server_is_refused_with_who_the_first_is(tmp_path: Path) -> None:
    with claiming(tmp_path) as claim:
        with pytest.raises(AlreadyRunning, match="another claude-openai is starting;"), claiming(tmp_path):
            pass
        claim.publish(ONE)
        with pytest.raises(AlreadyRunning, match=rf"is running \(pid {ONE.pid}, {ONE.base_url}\)"), claiming(tmp_path):
            pass
        assert find_instance(tmp_path) == ONE


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["a number that another process has", "a dead number"])
def test_what_a_killed_server_left_is_nothing_and_makes_room(tmp_path: Path, pid: int) -> None:
    left_behind(tmp_path, replace(ONE, pid=pid))
    assert find_instance(tmp_path) is None
    with claiming(tmp_path) as claim:
        assert find_instance(tmp_path) is None
        assert sorted(path.name for path in tmp_path.iterdir()) == ["claude-openai.pid"]
        claim.publish(ONE)
        assert find_instance(tmp_path) == ONE


def test_running_instance_is_found_by_others_at_the_same_time(tmp_path: Path) -> None:
    left_behind(tmp_path)
    with locked(tmp_path):
        assert find_instance(tmp_path) == ONE
    with locked(tmp_path, LOCK_SH):
        assert find_instance(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("claude-openai.json", ""),
        ("claude-openai.json", "{"),
        ("claude-openai.json", "[]"),
        ("claude-openai.json", "3"),
        ("claude-openai.json", '{"pid": 1}'),
        ("claude-openai.pid", ""),
        ("claude-openai.pid", "1\n"),
        ("claude-openai.port", ""),
        ("claude-openai.port", "1\n"),
    ],
)
def test_inconsistent_instance_files_name_no_server(tmp_path: Path, name: str, text: str) -> None:
    left_behind(tmp_path)
    write(tmp_path, name, text)
    with locked(tmp_path):
        assert find_instance(tmp_path) is None


def test_a_server_of_another_version_is_found(tmp_path: Path) -> None:
    left_behind(tmp_path)
    write(tmp_path, "claude-openai.json", json.dumps({**asdict(ONE), "of_the_future": 1}))
    with locked(tmp_path):
        assert find_instance(tmp_path) == ONE


def test_a_reader_at_the_wrong_moment_does_not_stop_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(tmp_path)
    reader = pid_file(tmp_path).open("rb")
    flock(reader, LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _: reader.close())
    with closing(reader), claiming(tmp_path):
        assert reader.closed


def test_a_reader_that_never_lets_go_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with locked(tmp_path, LOCK_SH), pytest.raises(AlreadyRunning), claiming(tmp_path):
        pass


def test_a_lock_on_a_file_that_was_removed_meanwhile_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path)
    take = claim_module._take
    removed: list[Path] = []

    def take_too_late(fd: int, folder: Path) -> None:
        if not removed:
            removed.append(pid_file(folder))
            pid_file(folder).unlink()
        take(fd, folder)

    monkeypatch.setattr(claim_module, "_take", take_too_late)
    with claiming(tmp_path) as claim:
        claim.publish(ONE)
        assert find_instance(tmp_path) == ONE


def test_the_files_of_another_server_are_not_removed(tmp_path: Path) -> None:
    with claiming(tmp_path):
        pid_file(tmp_path).unlink()
        left_behind(tmp_path)
        with locked(tmp_path):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == list(NAMES)


def test_letting_go_twice_closes_nothing_twice(tmp_path: Path) -> None:
    with claiming(tmp_path) as claim:
        claim.release()
        other = os.open(tmp_path, os.O_RDONLY)
    os.close(other)


@pytest.mark.parametrize("names", [NAMES, NAMES[:1], NAMES[1:2], NAMES[2:]])
def test_files_that_were_removed_are_put_back(tmp_path: Path, names: tuple[str, ...]) -> None:
    with claiming(tmp_path) as claim:
        claim.keep()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["claude-openai.pid"]
        claim.publish(ONE)
        for name in names:
            (tmp_path / name).unlink()
        assert find_instance(tmp_path) is None
        claim.keep()
        assert find_instance(tmp_path) == ONE
        before = {name: (tmp_path / name).stat().st_ino for name in NAMES}
        claim.keep()
        assert {name: (tmp_path / name).stat().st_ino for name in NAMES} == before
        with pytest.raises(AlreadyRunning), claiming(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_files_that_another_server_has_taken_meanwhile_stay_its_own_until_it_ends(tmp_path: Path) -> None:
    other = replace(ONE, port=9000)
    with claiming(tmp_path) as claim:
        claim.publish(ONE)
        pid_file(tmp_path).unlink()
        with claiming(tmp_path) as others:
            others.publish(other)
            claim.keep()
            assert find_instance(tmp_path) == other
        claim.keep()
        assert find_instance(tmp_path) == ONE


def test_missing_folder_is_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with claiming(folder) as claim:
        claim.publish(ONE)
        folder.rename(tmp_path / "moved")
        claim.keep()
        folder.mkdir()
        claim.keep()
        assert find_instance(folder) == ONE


def test_what_is_left_behind_is_removed_and_what_is_held_or_planted_is_not(tmp_path: Path) -> None:
    remove_left_behind(tmp_path)
    left_behind(tmp_path)
    with locked(tmp_path):
        remove_left_behind(tmp_path)
        assert find_instance(tmp_path) == ONE
    remove_left_behind(tmp_path)
    assert list(tmp_path.iterdir()) == []
    pid_file(tmp_path).mkdir()
    remove_left_behind(tmp_path)
    assert pid_file(tmp_path).is_dir()


def make_link(path: Path) -> None:
    (path.parent / "target").write_text("1\n")
    path.symlink_to("target")


def make_second_name(path: Path) -> None:
    write(path.parent, "target", "1\n")
    path.hardlink_to(path.parent / "target")


def make_open_to_others(path: Path) -> None:
    path.write_text("1\n")
    path.chmod(0o640)


def make_foreign(path: Path) -> None:
    write(path.parent, path.name, "1\n")
    os.chown(path, 12345, -1)


PLANTED = [
    pytest.param(make_link, id="a link"),
    pytest.param(lambda path: path.symlink_to("nothing"), id="a link to nothing"),
    pytest.param(os.mkfifo, id="a pipe"),
    pytest.param(Path.mkdir, id="a folder"),
    pytest.param(make_second_name, id="a second name"),
    pytest.param(make_open_to_others, id="open to others"),
    pytest.param(make_foreign, id="another user's", marks=needs("root")),
]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_pid_file_is_refused_and_left_alone(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    plant(pid_file(tmp_path))
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    with pytest.raises(UnsafeFileError, match=r"claude-openai\.pid") as caught:
        find_instance(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert "TMPDIR" in str(caught.value)
    # What is another user's cannot be removed from a folder that all share.
    assert ("remove it" in str(caught.value)) == (plant is not make_foreign)
    with pytest.raises(StartError, match=r"claude-openai\.pid"), claiming(tmp_path):
        pass
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert [(name, found.st_ino, found.st_size) for name, found in before.items()] == [
        (name, found.st_ino, found.st_size) for name, found in after.items()
    ]
    with suppress(FileNotFoundError):
        assert (tmp_path / "target").read_text() == "1\n"


@pytest.mark.parametrize("name", ["claude-openai.json", "claude-openai.port"])
@pytest.mark.parametrize("plant", PLANTED)
def test_nothing_is_read_from_what_was_planted_beside_it(
    tmp_path: Path, plant: Callable[[Path], None], name: str
) -> None:
    left_behind(tmp_path)
    (tmp_path / name).unlink()
    plant(tmp_path / name)
    with locked(tmp_path), pytest.raises(UnsafeFileError, match=name):
        find_instance(tmp_path)


def test_what_was_planted_beside_it_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    with claiming(tmp_path) as claim:
        for name in ("claude-openai.json", "claude-openai.port"):
            (tmp_path / name).symlink_to(target)
            (tmp_path / f"{name}.{os.getpid()}").symlink_to(target)
        claim.publish(ONE)
        assert find_instance(tmp_path) == ONE
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "missing", tmp_path / "file"):
        assert find_instance(folder) is None
        with pytest.raises(StartError, match="TMPDIR"), claiming(folder):
            pass


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)


def test_a_full_disk_is_one_line_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch)
    with pytest.raises(StartError, match=r"cannot write '.*claude-openai\.pid': No space left on device; set TMPDIR"):
        claiming(tmp_path).__enter__()


def test_files_that_were_removed_while_the_disk_is_full_are_put_back_later(tmp_path: Path) -> None:
    with claiming(tmp_path) as claim:
        claim.publish(ONE)
        for path in tmp_path.iterdir():
            path.unlink()
        with pytest.MonkeyPatch.context() as monkeypatch:
            fill_disk(monkeypatch)
            claim.keep()
            assert find_instance(tmp_path) is None
        claim.keep()
        assert find_instance(tmp_path) == ONE


def test_the_files_are_made_to_look_young(tmp_path: Path) -> None:
    with claiming(tmp_path) as claim:
        claim.publish(ONE)
        for name in NAMES:
            os.utime(tmp_path / name, (1, 1))
        claim.touch()
        assert all((tmp_path / name).stat().st_mtime > 1 for name in NAMES)


def test_the_key_is_not_shown_with_the_instance() -> None:
    assert "a-secret" not in repr(ONE)


def test_the_folder_is_the_one_for_temporary_files() -> None:
    assert instance_folder({"TMPDIR": "/x"}) == Path("/x")
    assert instance_folder({"TMPDIR": "x"}) == Path.cwd() / "x"
    assert instance_folder({"TMPDIR": ""}) == instance_folder({}) == Path("/tmp")  # noqa: S108
