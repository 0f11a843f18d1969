"""A log file is bounded: it becomes FILE.1 before it would grow too large, even if others change the two files."""

import fcntl
import json
import os
import queue
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.logs.writer import DEFAULT_LIMITS, LogLimits, LogWriter, open_log_file

WAIT_S = 10
LIMIT = 1000
# Each line is a batch, and the path is checked once, with the first line.
SMALL = LogLimits(batch_bytes=1, file_bytes=LIMIT, rotation_check_s=3600, flush_s=WAIT_S)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "log-writer":
            thread.join(WAIT_S)
            assert not thread.is_alive()


def dropped(count: int) -> bytes:
    return b'{"dropped":%d}\n' % count


def line(number: int, size: int = 100) -> bytes:
    text = json.dumps({"number": number, "fill": ""}, separators=(",", ":"))
    return f"{text[:-2]}{'x' * (size - len(text) - 1)}{text[-2:]}\n".encode()


def write_all(path: Path, lines: list[bytes]) -> None:
    writer = LogWriter(open_log_file(path), path, dropped, SMALL)
    for each in lines:
        writer.put(each)
    writer.close()


def numbers(path: Path) -> list[int]:
    """What a file holds; every line of it must be whole."""
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    records: list[dict[str, Any]] = [json.loads(each) for each in data.splitlines()]
    return [record["number"] for record in records]


def older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def test_the_bound_of_a_file_is_more_than_all_that_can_be_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert DEFAULT_LIMITS.file_bytes > DEFAULT_LIMITS.queue_bytes + DEFAULT_LIMITS.batch_bytes


def test_a_full_file_becomes_the_older_one_and_no_third_is_left(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    write_all(path, [line(number) for number in range(35)])
    assert {each.name for each in tmp_path.iterdir()} == {"log.ndjson", "log.ndjson.1"}
    assert numbers(older(path)) == list(range(20, 30))
    assert numbers(path) == list(range(30, 35))
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, older(path))] == [0o600, 0o600]


@given(st.lists(st.integers(30, LIMIT), min_size=1, max_size=30))
def test_lines_of_any_size_stay_whole_in_order_and_files_bounded(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("sizes") / "log"
    write_all(path, [line(number, size) for number, size in enumerate(sizes)])
    kept = (numbers(older(path)) if older(path).exists() else []) + numbers(path)
    assert kept == list(range(len(sizes)))[-len(kept) :]
    files = list(path.parent.iterdir())
    assert all(each.stat().st_size <= LIMIT for each in files)
    assert (len(files) == 1) == (sum(sizes) <= LIMIT)


def test_a_line_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_all(path, [line(0, LIMIT + 1)])
    assert not older(path).exists()
    path.unlink()
    write_all(path, [line(0), line(1, LIMIT + 1), line(2)])
    assert (numbers(older(path)), numbers(path)) == ([1], [2])


def test_a_file_that_was_full_before_is_rotated_with_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line(0, 2 * LIMIT))
    path.chmod(0o640)
    write_all(path, [line(1)])
    assert (numbers(older(path)), numbers(path)) == ([0], [1])
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, older(path))] == [0o600, 0o640]


def test_without_a_line_a_full_file_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line(0, 2 * LIMIT))
    write_all(path, [])
    assert not older(path).exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_the_place_of_the_older_file_is_replaced_and_not_followed(tmp_path: Path, exists: bool) -> None:
    path, target = tmp_path / "log", tmp_path / "target"
    if exists:
        target.write_text("mine")
    older(path).symlink_to(target)
    write_all(path, [line(number) for number in range(15)])
    assert not older(path).is_symlink()
    assert (numbers(older(path)), numbers(path)) == (list(range(10)), list(range(10, 15)))
    assert (target.read_text() if target.exists() else None) == ("mine" if exists else None)


def test_log_file_that_cannot_rotate_is_reported_once_and_grows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    older(path).mkdir()
    write_all(path, [line(number) for number in range(30)])
    assert numbers(path) == list(range(30))
    told = capfd.readouterr().err.splitlines()
    assert [
        text.startswith("claude-openai: the log file cannot be rotated and grows too large: ") for text in told
    ] == [True]


def test_a_rotation_that_failed_is_made_as_soon_as_it_can_be(
    tmp_path: Path, writes: "queue.SimpleQueue[bytes]"
) -> None:
    path = tmp_path / "log"
    older(path).mkdir()
    writer = LogWriter(open_log_file(path), path, dropped, SMALL)
    for number in range(15):
        writer.put(line(number))
    for _ in range(16):  # one of them is the message on standard error
        writes.get(timeout=WAIT_S)
    older(path).rmdir()
    other = open_log_file(path)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if the failure had left it locked
    os.close(other)
    writer.put(line(15))
    writer.close()
    assert (numbers(older(path)), numbers(path)) == (list(range(15)), [15])


def test_log_file_that_cannot_be_created_is_reported_and_the_old_one_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path, rename = tmp_path / "log", Path.rename

    def renamed_and_a_link_planted(source: Path, target: str) -> Path:
        moved = rename(source, target)
        source.symlink_to(tmp_path / "elsewhere")
        return moved

    monkeypatch.setattr(Path, "rename", renamed_and_a_link_planted)
    writer = LogWriter(open_log_file(path), path, dropped, SMALL)
    for number in range(30):
        writer.put(line(number))
    writer.close()
    assert "moved or deleted" in writer.problem
    assert numbers(older(path)) == list(range(30))
    assert not (tmp_path / "elsewhere").exists()
    assert capfd.readouterr().err.count("symbolic link") == 1


def test_moved_log_file_is_created_again_and_rotated(tmp_path: Path, writes: "queue.SimpleQueue[bytes]") -> None:
    path, moved = tmp_path / "log", tmp_path / "log-2026"
    writer = LogWriter(open_log_file(path), path, dropped, replace(SMALL, rotation_check_s=0))
    for number in range(8):
        writer.put(line(number))
        writes.get(timeout=WAIT_S)
    path.rename(moved)
    for number in range(8, 23):
        writer.put(line(number))
    writer.close()
    assert [numbers(each) for each in (moved, older(path), path)] == [
        list(range(8)),
        list(range(8, 18)),
        list(range(18, 23)),
    ]


# Two servers, one file


def test_one_rotates_and_the_other_does_not_rotate_the_new_file_away(
    tmp_path: Path, writes: "queue.SimpleQueue[bytes]"
) -> None:
    path = tmp_path / "log"
    first, second = (LogWriter(open_log_file(path), path, dropped, SMALL) for _ in range(2))

    def put(writer: LogWriter, number: int) -> None:
        writer.put(line(number))
        writes.get(timeout=WAIT_S)

    put(second, 0)
    for number in range(1, 12):
        put(first, number)
    put(second, 12)  # what it has open is the older file now, and full
    first.close()
    second.close()
    assert (numbers(older(path)), numbers(path)) == (list(range(10)), [10, 11, 12])


def test_while_another_rotates_lines_go_to_the_file_that_is_open(
    tmp_path: Path, writes: "queue.SimpleQueue[bytes]", capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    other = open_log_file(path)
    fcntl.flock(other, fcntl.LOCK_EX)
    writer = LogWriter(open_log_file(path), path, dropped, SMALL)
    for number in range(12):
        writer.put(line(number))
        writes.get(timeout=WAIT_S)
    os.close(other)
    writer.put(line(12))
    writer.close()
    assert (numbers(older(path)), numbers(path)) == (list(range(12)), [12])
    assert capfd.readouterr().err == ""


def test_two_at_once_lose_and_split_nothing_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writers = [LogWriter(open_log_file(path), path, dropped, SMALL) for _ in range(2)]
    for number in range(8):
        for index, writer in enumerate(writers):
            writer.put(line(2 * number + index))
    for writer in writers:
        writer.close()
    assert sorted([*numbers(older(path)), *numbers(path)]) == list(range(16))
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.1"}


def test_two_at_once_leave_two_files_of_whole_lines_after_many_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writers = [LogWriter(open_log_file(path), path, dropped, SMALL) for _ in range(2)]
    for number in range(500):
        for writer in writers:
            writer.put(line(number))
    for writer in writers:
        writer.close()
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.1"}
    assert len(numbers(older(path))) >= LIMIT // 100
    assert 499 in numbers(older(path)) + numbers(path)
