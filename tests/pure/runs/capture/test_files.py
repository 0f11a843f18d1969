"""The files of runs: what is written, by whom it can be read, when it is removed, and what damaged ones do."""

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.runs.capture import writer as run_writer
from claude_openai.runs.capture.files import find_run, list_runs, open_folder, open_run, run_ids
from claude_openai.runs.capture.records import RUN_ID, RunRecord, is_end, read_line
from claude_openai.runs.capture.writer import RunWriter

ID = "run_" + "a" * 24
OTHER = "run_" + "b" * 24
WAIT_S = 20.0


class Written:
    """A writer over a folder, and what it logs."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.folder = folder
        self.logged: list[dict[str, Any]] = []
        log = Log(Level.TRACE, lambda line: self.logged.append(json.loads(line)), Redactor())
        self.writer = RunWriter(folder, **{"max_age_s": 3600, "max_bytes": 1 << 20, **limits}, log=log)

    def run(self, run_id: str = ID, *texts: str, end: bool = True) -> RunRecord:
        """A whole run."""
        record = RunRecord(run_id, "sdk", "claude", started_at=1000.0)
        capture = self.writer.begin(run_id, {"id": run_id, **record.to_json(), "user": None})
        capture.put({"type": "running"})
        for text in texts:
            capture.put_text("text", text)
        if end:
            record.status, record.ended_at = "completed", 1002.5
            capture.put({"type": "end", **record.to_json()}, last=True)
        return record

    def records(self, run_id: str = ID) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / f"{run_id}.ndjson").read_bytes().splitlines()]


@contextmanager
def writing(folder: Path, **limits: Any) -> Iterator[Written]:
    written = Written(folder, **limits)
    yield written
    written.writer.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for the thread, which signals nothing."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_run_is_written_in_order_and_deltas_that_wait_together_are_one_record(tmp_path: Path) -> None:
    with writing(tmp_path / "runs") as written:
        capture = written.writer.begin(ID, {"id": ID})
        for kind, text in (
            ("reasoning", "hm"),
            ("text", "Hel"),
            ("text", "lo"),
            ("reasoning", "?"),
            ("text", "\ud800"),
        ):
            capture.put_text(kind, text)  # type: ignore[arg-type]
        capture.put({"type": "tool_call", "name": "look"})
        capture.put_text("text", "!")
        capture.put({"type": "end"}, last=True)
    records = written.records()
    times = [record.pop("t") for record in records]
    assert times == sorted(times)
    assert [(r["type"], r.get("text")) for r in records] == [
        *(("asked", None), ("reasoning", "hm"), ("text", "Hello"), ("reasoning", "?"), ("text", "\ud800")),
        *(("tool_call", None), ("text", "!"), ("end", None)),
    ]
    assert written.logged == []


@given(st.lists(st.tuples(st.sampled_from(["text", "reasoning"]), st.text(min_size=1)), max_size=30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_is_lost_or_changed_however_it_is_cut(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    with writing(tmp_path / os.urandom(8).hex()) as written:
        capture = written.writer.begin(ID, {"id": ID})
        for kind, text in said:
            capture.put_text(kind, text)  # type: ignore[arg-type]
        capture.put({"type": "end"}, last=True)
    for wanted in ("text", "reasoning"):
        kept = "".join(r["text"] for r in written.records() if r["type"] == wanted)
        assert kept == "".join(text for kind, text in said if kind == wanted)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_folder_and_file_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "new" / "runs"
    before = os.umask(umask)
    try:
        with writing(folder) as written:
            written.run()
    finally:
        os.umask(before)
    assert (mode(tmp_path / "new"), mode(folder), mode(folder / f"{ID}.ndjson")) == (0o700, 0o700, 0o600)


def test_a_run_is_read_as_it_ended(tmp_path: Path) -> None:
    with writing(tmp_path) as written:
        record = written.run(ID, "x" * 100_000)
    assert find_run(tmp_path, ID) == record
    assert list_runs(tmp_path, 10) == [record]
    assert record.to_json()["duration_ms"] == 2500
    assert find_run(tmp_path, OTHER) is None


def test_the_last_end_counts(tmp_path: Path) -> None:
    with writing(tmp_path) as written:
        capture = written.writer.begin(ID, {"id": ID})
        record = RunRecord(ID, "sdk", "claude", 1000.0, "completed", ended_at=1001.0)
        capture.put({"type": "end", **record.to_json()}, last=True)
        until(lambda: capture.file.fd < 0 and find_run(tmp_path, ID) is not None)
        record.status = "cancelled"
        capture.put({"type": "end", **record.to_json()}, last=True)
    assert find_run(tmp_path, ID) == record


def test_a_run_is_running_while_somebody_writes_it_and_never_after(tmp_path: Path) -> None:
    with writing(tmp_path) as written:
        capture = written.writer.begin(ID, RunRecord(ID, "sdk", "claude", 1000.0).to_json())
        until(lambda: (found := find_run(tmp_path, ID)) is not None and found.status == "queued")
        capture.put({"type": "running"})
        capture.put({"type": "answering", "conversation": "new"})
        until(lambda: (found := find_run(tmp_path, ID)) is not None and found.conversation == "new")
        found = find_run(tmp_path, ID)
        assert found is not None
        assert (found.status, found.ended_at, found.error) == ("running", None, None)
    os.close(capture.file.fd)  # the server is gone
    found = find_run(tmp_path, ID)
    assert found is not None
    assert found.error is not None
    assert (found.status, found.error["code"]) == ("failed", "server_ended")
    assert found.ended_at == pytest.approx((tmp_path / f"{ID}.ndjson").stat().st_mtime)


NAMED = {ID: "ann", OTHER: "bob", "run_" + "9" * 24: None}


@given(st.binary(max_size=300), st.booleans(), st.integers(0, 400))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_left_out_or_read_and_never_an_error(
    tmp_path: Path, garbage: bytes, before: bool, cut: int
) -> None:
    record = RunRecord(ID, "sdk", "claude", 1000.0, "completed", ended_at=1001.0)
    end = json.dumps({"t": 1, "type": "end", **record.to_json()}, separators=(",", ":")).encode()[:cut] + b"\n"
    path = tmp_path / f"{ID}.ndjson"
    path.write_bytes(garbage + b"\n" + end if before else end + garbage)
    (tmp_path / f"{OTHER}.ndjson").write_bytes(end)  # another run's words
    found = list_runs(tmp_path, 10)
    assert [run.id for run in found] in ([], [ID])
    if cut == 400 and before:
        assert found == [record]


def test_the_runs_of_a_key_are_listed_without_those_of_others(tmp_path: Path) -> None:
    records = [RunRecord(run_id, "sdk", "claude", 1000.0, "completed", key=key) for run_id, key in NAMED.items()]
    for record in records:
        end = json.dumps({"t": 1, "type": "end", **record.to_json()}, separators=(",", ":"))
        (tmp_path / f"{record.id}.ndjson").write_text(f"{end}\n")
    assert [run.id for run in list_runs(tmp_path, 1, key="ann")] == [ID]
    assert len(list_runs(tmp_path, 10)) == 3
    assert list_runs(tmp_path, 10, key="eve") == []


DAMAGED = [
    {"id": "../x"},
    {"id": None},
    {"status": "resting"},
    {"status": []},
    {"started_at": "yesterday"},
    {"started_at": None},
    {"ended_at": 5},
]


@pytest.mark.parametrize("change", DAMAGED)
def test_a_record_that_cannot_be_one_is_none(change: dict[str, Any]) -> None:
    good = RunRecord(ID, "sdk", "claude", 1000.0).to_json()
    assert RunRecord.from_json(good) is not None
    assert RunRecord.from_json({**good, **change}) is None
    assert RunRecord.from_json({}) is None


def test_end_is_recognized_by_its_type_not_its_text() -> None:
    assert is_end(b'{"t":1,"type":"end"}')
    assert not is_end(b'{"t":1,"type":"text","text":"\\"type\\":\\"end\\""}')
    assert not is_end(b'{"t":1,"type":"end"')


@pytest.mark.parametrize("bad", ["", "..", "../" + ID, ID + "/x", ID.upper(), ID[:-1], ID + "\n", "run_" + "g" * 24])
def test_a_bad_id_never_reaches_the_file_system(tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder(tmp_path) as folder_fd:
        monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("a file was opened"))
        with pytest.raises(ValueError, match="invalid run id"):
            open_run(folder_fd, bad)
        monkeypatch.undo()


def test_links_fifos_and_other_files_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    with writing(outside) as written:
        written.run()
    folder = tmp_path / "runs"
    folder.mkdir(0o700)
    (folder / f"{ID}.ndjson").symlink_to(outside / f"{ID}.ndjson")
    os.mkfifo(folder / f"{OTHER}.ndjson")
    (folder / "notes.txt").write_text("mine")
    assert list_runs(folder, 10) == []
    assert find_run(folder, ID) is None
    (tmp_path / "link").symlink_to(outside)
    assert list_runs(tmp_path / "link", 10) == []
    assert list_runs(tmp_path / "none", 10) == []


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    with writing(folder) as written:
        written.run()
    folder.chmod(0o777)
    assert find_run(folder, ID) is None
    with writing(folder) as written:
        written.run(OTHER)
    assert [line["event"] for line in written.logged] == ["runs.not_captured"]
    assert not (folder / f"{OTHER}.ndjson").exists()


def aged(folder: Path, run_id: str, age_s: float) -> None:
    with writing(folder) as written:
        written.run(run_id, "x" * 10_000)
    os.utime(folder / f"{run_id}.ndjson", (time.time() - age_s,) * 2)


def kept(folder: Path) -> set[str]:
    with open_folder(folder) as folder_fd:
        return {run_id for _, run_id in run_ids(folder_fd)}


def test_what_is_too_old_is_removed_at_the_start_and_nothing_else(tmp_path: Path) -> None:
    aged(tmp_path, ID, 3601)
    aged(tmp_path, OTHER, 3500)
    (tmp_path / "notes.ndjson").write_text("mine")
    os.utime(tmp_path / "notes.ndjson", (0, 0))
    with writing(tmp_path):
        pass
    assert kept(tmp_path) == {OTHER}
    assert (tmp_path / "notes.ndjson").exists()


def test_the_oldest_are_removed_when_all_are_too_large(tmp_path: Path) -> None:
    ids = [f"run_{number:024x}" for number in range(5)]
    for age_s, run_id in enumerate(ids):
        aged(tmp_path, run_id, age_s)
    with writing(tmp_path, max_bytes=25_000):
        pass
    assert kept(tmp_path) == set(ids[:2])


def test_a_run_that_is_being_written_is_never_removed(tmp_path: Path) -> None:
    with writing(tmp_path) as other_server:
        other_server.run(ID, "x", end=False)
        until(lambda: (tmp_path / f"{ID}.ndjson").exists() and find_run(tmp_path, ID) is not None)
        os.utime(tmp_path / f"{ID}.ndjson", (0, 0))
        with writing(tmp_path, max_bytes=0, max_age_s=1):
            pass
        assert kept(tmp_path) == {ID}


def test_full_disk_is_reported_once_and_writing_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = threading.Event()
    full.set()
    torn: set[int] = set()
    real = os.write

    def write(fd: int, data: Any) -> int:
        if not full.is_set():
            return real(fd, data)
        if fd not in torn:
            torn.add(fd)
            return real(fd, data[:20])  # as much as fits
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with writing(tmp_path) as written:
        for run_id in (ID, OTHER):
            capture = written.writer.begin(run_id, {"id": run_id})
        until(lambda: capture.file.lost > 0)
        capture.put_text("text", "lost too")
        until(lambda: capture.file.lost > 1)
        full.clear()
        capture.put_text("text", "kept")
        capture.put({"type": "end", **RunRecord(OTHER, "sdk", "claude", 1.0, "completed").to_json()}, last=True)
    (told,) = written.logged
    assert (told["level"], told["event"], told["reason"]) == ("warning", "runs.not_captured", "No space left on device")
    whole = [json.loads(line) for line in (tmp_path / f"{OTHER}.ndjson").read_bytes().splitlines()[-3:]]
    assert [(r["type"], r.get("text"), r.get("records")) for r in whole] == [
        ("text", "kept", None),
        ("lost", None, 2),
        ("end", None, None),
    ]
    found = find_run(tmp_path, OTHER)
    assert found is not None
    assert found.status == "completed"


@pytest.mark.parametrize("fits", [0, 1, 700, 5000])
def test_a_run_that_ends_on_a_full_disk_has_its_end_over_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    room = 1500 + fits
    real = os.write

    def write(fd: int, data: Any) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(fd, data[:room])
        room -= done
        return done

    monkeypatch.setattr(os, "write", write)
    with writing(tmp_path) as written:
        capture = written.writer.begin(ID, RunRecord(ID, "sdk", "claude", 1000.0).to_json())
        for number in range(40):
            capture.put({"type": "tool_call", "name": f"{number}", "arguments": "x" * 200})
        record = RunRecord(ID, "sdk", "claude", 1000.0, "completed", ended_at=1002.5)
        capture.put({"type": "end", **record.to_json()}, last=True)
    monkeypatch.undo()
    assert find_run(tmp_path, ID) == record
    records = [read_line(line) for line in (tmp_path / f"{ID}.ndjson").read_bytes().splitlines()]
    *whole, lost, end = [record["type"] for record in records if record]
    assert (whole[0], set(whole[1:]), lost, end) == ("asked", {"tool_call"}, "lost", "end")
    assert len(whole) - 1 + records[-2]["records"] >= 40
    assert (tmp_path / f"{ID}.ndjson").stat().st_size <= 1500 + fits


def test_old_runs_are_removed_while_the_server_runs(tmp_path: Path) -> None:
    hour_s, passed_s = 3600.0, 0.0
    with writing(tmp_path, max_age_s=hour_s, clock=lambda: time.monotonic() + passed_s) as written:
        written.run()
        until(lambda: kept(tmp_path) == {ID} and find_run(tmp_path, ID) is not None)
        os.utime(tmp_path / f"{ID}.ndjson", (time.time() - 2 * hour_s,) * 2)
        passed_s = 120.0
        written.run(OTHER)
        until(lambda: kept(tmp_path) == {OTHER})


def test_folder_that_cannot_be_created_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with writing(tmp_path / "file" / "runs") as written:
        written.run(ID, "a")
        written.run(OTHER, "b")
    assert [line["event"] for line in written.logged] == ["runs.not_captured"]


def test_what_waits_for_a_disk_that_hangs_is_bounded_and_the_end_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    real = os.write

    def write(fd: int, data: Any) -> int:
        hangs.set()
        goes_on.wait(WAIT_S)
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    with writing(tmp_path, queue_chars=30_000) as written:
        capture = written.writer.begin(ID, {"id": ID})
        assert hangs.wait(WAIT_S)
        for _ in range(1000):
            capture.put_text("text", "x" * (300 - run_writer.DELTA_CHARS))
        assert capture.file.lost == 900
        capture.put({"type": "end"}, last=True)
        goes_on.set()
    records = written.records()
    assert [record["type"] for record in records] == ["asked", "text", "lost", "end"]
    assert (len(records[1]["text"]), records[2]["records"]) == (100 * (300 - run_writer.DELTA_CHARS), 900)


def test_every_id_that_is_made_has_the_form_that_is_asked_for() -> None:
    assert RUN_ID.fullmatch(ID)
    assert not RUN_ID.fullmatch(ID + "\n")
