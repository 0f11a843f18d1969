"""A log call never waits, never fails, and shows no secret; what cannot be written is counted."""

import errno
import fcntl
import json
import logging
import os
import pty
import queue
import re
import stat
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import ConfigError
from claude_openai.logs import log as log_module
from claude_openai.logs.log import (
    LIBRARIES,
    NULL_LOG,
    Level,
    Log,
    LogFormat,
    captured_libraries,
    captured_process,
    open_log,
)
from claude_openai.logs.redaction import MASK, Redactor
from claude_openai.logs.text_format import text_of
from claude_openai.logs.writer import LogLimits, open_log_file
from tests.conditions import needs

WAIT_S = 10


def parsed(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def records(path: Path) -> list[dict[str, Any]]:
    return parsed(path.read_bytes())


@pytest.fixture
def memory() -> tuple[Log, list[bytes]]:
    lines: list[bytes] = []
    return Log(Level.TRACE, lines.append, Redactor(["hunter2hunter2"])), lines


class Pipe:
    """A pipe whose reader starts when the test wants it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.received = b""
        self._thread = threading.Thread(target=self._drain)

    def _drain(self) -> None:
        while chunk := os.read(self.reader, 65536):
            self.received += chunk

    def start_reading(self) -> None:
        self._thread.start()

    def finish(self) -> list[dict[str, Any]]:
        os.close(self.writer)
        self._thread.join(WAIT_S)
        os.close(self.reader)
        return parsed(self.received)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "log-writer":
            thread.join(WAIT_S)
            assert not thread.is_alive()


# Records


def test_a_record_is_one_line_with_time_level_event_and_then_the_fields(memory: tuple[Log, list[bytes]]) -> None:
    log, lines = memory
    log.info("http.request", method="GET", path="/v1/models", status=200, duration_ms=1.5)
    (record,) = parsed(lines[0])
    assert list(record) == ["time", "level", "event", "method", "path", "status", "duration_ms"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert (record["level"], record["event"], record["status"]) == ("info", "http.request", 200)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.binary() | st.none()))
def test_every_record_is_one_printable_ascii_line(fields: dict[str, Any]) -> None:
    lines: list[bytes] = []
    log = Log(Level.TRACE, lines.append, Redactor())
    log.trace("sdk.message", message=fields)
    log.trace("sdk.message", **fields)
    assert all(re.fullmatch(rb"[ -~]+\n", line) for line in lines)
    assert [record["event"] for record in parsed(b"".join(lines))] == ["sdk.message"] * 2


@pytest.mark.parametrize("least", Level)
def test_only_records_of_the_level_and_above_are_written(least: Level) -> None:
    lines: list[bytes] = []
    log = Log(least, lines.append, Redactor())
    for write in (log.trace, log.debug, log.info, log.warning, log.error):
        write("x")
    assert [record["level"] for record in parsed(b"".join(lines))] == [x.name.lower() for x in Level if x >= least]
    assert [level for level in Level if log.enabled(level)] == [level for level in Level if level >= least]


def test_fields_below_the_level_are_not_looked_at() -> None:
    touched: list[object] = []

    class Field:
        def __repr__(self) -> str:
            touched.append(self)
            return ""

    log = Log(Level.INFO, lambda _: None, Redactor())
    log.debug("x", value=Field())
    NULL_LOG.bind(value=Field()).error("x", value=Field())
    assert touched == []
    assert not NULL_LOG.enabled(Level.ERROR)
    log.info("x", value=Field())
    assert len(touched) == 1


def test_bound_fields_are_in_every_record_and_a_call_may_override_them(memory: tuple[Log, list[bytes]]) -> None:
    log, lines = memory
    child = log.bind(request_id="req_1", token="abc").bind(run_id="run_1")
    child.debug("a")
    child.debug("b", run_id="run_2")
    log.debug("c")
    a, b, c = parsed(b"".join(lines))
    assert (a["request_id"], a["run_id"], a["token"]) == ("req_1", "run_1", MASK)
    assert (b["request_id"], b["run_id"]) == ("req_1", "run_2")
    assert "request_id" not in c


def test_a_field_cannot_take_the_place_of_time_level_or_event(memory: tuple[Log, list[bytes]]) -> None:
    log, lines = memory
    log.bind(level="x").info("real", event="other", time=1, self="me")
    (record,) = parsed(lines[0])
    assert (record["event"], record["level"]) == ("real", "info")
    assert (record["event_"], record["level_"], record["time_"], record["self"]) == ("other", "x", 1, "me")


@given(st.sampled_from(["trace", "debug", "info", "warning", "error"]), st.text(), st.text())
def test_known_secret_is_in_no_line_of_any_level(level: str, before: str, after: str) -> None:
    lines: list[bytes] = []
    secret = "Zq\u00e4\"'\\\n/9+x"
    log = Log(Level.TRACE, lines.append, Redactor([secret])).bind(bound=f"{before}{secret}{after}")
    text = f"{before}{secret}{after}"
    getattr(log, level)(text, value=text, nested=[{text: (text, ValueError(text))}], **{text: 1})
    (record,) = parsed(lines[0])
    assert secret not in repr(record) + json.dumps(record) + "".join(map(str, record.values()))
    assert json.dumps(secret)[1:-1].encode() not in lines[0]


def test_values_json_does_not_know_never_raise(memory: tuple[Log, list[bytes]]) -> None:
    class Broken:
        def __repr__(self) -> NoReturn:
            raise RuntimeError

    log, lines = memory
    knot: dict[str, Any] = {}
    knot["knot"] = knot
    log.error("x", broken=Broken(), kind=Broken, number=10**6000, nan=float("nan"), lone="\ud800", knot=knot)
    (record,) = parsed(lines[0])
    assert "Broken" in record["broken"]
    assert record["nan"] == "nan"


# The file


@pytest.mark.parametrize("umask", [0, 0o277, 0o777])
def test_new_file_is_0600_in_a_0700_folder_under_any_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a" / "b" / "log.ndjson"
    before = os.umask(umask)
    try:
        with open_log(Level.DEBUG, path) as log:
            log.debug("x")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]
    assert len(records(path)) == 1


def test_an_old_file_is_appended_to_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"event":"old"}\n')
    path.chmod(0o640)
    with open_log(Level.DEBUG, path) as log:
        log.debug("new")
    assert [record["event"] for record in records(path)] == ["old", "new"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_refused(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if exists:
        target.touch()
    link.symlink_to(target)
    with pytest.raises(ConfigError, match=r"cannot write the log file '.*link': it is a symbolic link$"):
        open_log(Level.DEBUG, link).__enter__()
    assert target.exists() == exists


def give_away(path: Path) -> None:
    path.touch(0o600)
    os.chown(path, 12345, -1)


def open_to_all(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def give_second_name(path: Path) -> None:
    path.touch(0o600)
    path.with_name("second").hardlink_to(path)


def link_elsewhere(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.touch(0o600)
    path.symlink_to(target)


PLANTED = [
    pytest.param(give_away, "belongs to another user", id="another user's", marks=needs("root")),
    pytest.param(give_second_name, "it has another hard link", id="a second name"),
    pytest.param(open_to_all, r"every user may write to it \(mode 0666\)", id="open to all"),
]


@pytest.mark.parametrize(("plant", "reason"), PLANTED)
@pytest.mark.parametrize("mode", [0o700, 0o1777])
def test_a_file_that_may_have_been_planted_is_refused_and_not_written(
    tmp_path: Path, plant: Callable[[Path], None], reason: str, mode: int
) -> None:
    # In the second folder, which all users share, the kernel may refuse it too.
    path = tmp_path / "log"
    tmp_path.chmod(mode)
    plant(path)
    with pytest.raises(ConfigError, match=f"cannot write the log file '.*log': .*{reason}"):
        open_log(Level.DEBUG, path).__enter__()
    assert path.read_bytes() == b""


@needs("root")
def test_a_file_of_root_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with open_log(Level.DEBUG, path) as log:
        log.debug("x")
    assert len(records(path)) == 1


def test_a_device_is_taken() -> None:
    with open_log(Level.DEBUG, Path(os.devnull)) as log:
        log.debug("x")


def test_file_that_vanishes_while_opened_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.touch()
    real = os.open

    def vanishing(name: Path, flags: int, mode: int = 0o777, **others: int | None) -> int:
        try:
            return real(name, flags, mode, **others)
        finally:
            path.unlink(missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", vanishing)
        os.close(open_log_file(path))


@pytest.mark.parametrize(
    ("plant", "reason"), [*PLANTED, pytest.param(link_elsewhere, "symbolic link", id="a symbolic link")]
)
def test_foreign_file_in_place_of_the_log_is_not_written(
    tmp_path: Path,
    plant: Callable[[Path], None],
    reason: str,
    writes: "queue.SimpleQueue[bytes]",
    capfd: pytest.CaptureFixture[str],
) -> None:
    path, old = tmp_path / "log", tmp_path / "old"
    with open_log(Level.DEBUG, path, limits=LogLimits(rotation_check_s=0)) as log:
        log.debug("first")
        writes.get(timeout=WAIT_S)
        path.rename(old)
        plant(path)
        log.debug("second")
        log.debug("third")
    assert [record["event"] for record in records(old)] == ["first", "second", "third"]
    assert path.read_bytes() == b""
    assert len(re.findall(reason, capfd.readouterr().err)) == 1


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "log"
    make(path)
    with pytest.raises(ConfigError, match="cannot write the log file"):
        open_log(Level.DEBUG, path).__enter__()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write the log file"):
        open_log(Level.DEBUG, tmp_path / "file" / "log").__enter__()


def test_a_closed_standard_output_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(ConfigError, match="standard output is closed"):
        open_log(Level.DEBUG, fd=writer).__enter__()


def test_moved_or_deleted_log_file_is_created_again(tmp_path: Path, writes: "queue.SimpleQueue[bytes]") -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    with open_log(Level.DEBUG, path, limits=LogLimits(rotation_check_s=0)) as log:
        log.debug("first")
        writes.get(timeout=WAIT_S)
        path.rename(old)
        log.debug("second")
        writes.get(timeout=WAIT_S)
        assert [record["event"] for record in records(path)] == ["second"]
        path.unlink()
        log.debug("third")
    assert [record["event"] for record in records(old)] == ["first"]
    assert [record["event"] for record in records(path)] == ["third"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# The thread


def test_all_records_are_written_in_order_when_the_log_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(Level.DEBUG, path) as log:
        for number in range(5000):
            log.debug("x", number=number)
    assert [record["number"] for record in records(path)] == list(range(5000))
    log.debug("after the end")
    assert len(records(path)) == 5000


def test_without_a_path_records_go_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with open_log(Level.INFO, secrets=["hunter2hunter2"]) as log:
        log.info("a", value="hunter2hunter2")
        log.debug("b")
    (record,) = parsed(capfd.readouterr().out.encode())
    assert record["value"] == MASK
    os.fstat(1)


def test_no_level_is_no_log(tmp_path: Path) -> None:
    with open_log(None, tmp_path / "log") as log:
        assert log is NULL_LOG
    assert not (tmp_path / "log").exists()


def test_unread_pipe_blocks_no_call_and_dropped_lines_are_counted() -> None:
    pipe, total = Pipe(), 5000
    with open_log(Level.DEBUG, fd=pipe.writer, limits=LogLimits(queue_bytes=200_000)) as log:
        for number in range(total):
            log.debug("x", number=number, text="y" * 500)
        pipe.start_reading()
    written = pipe.finish()
    numbers = [record["number"] for record in written if record["event"] == "x"]
    dropped = [record for record in written if record["event"] == "log.dropped"]
    assert numbers == sorted(numbers)
    assert {record["level"] for record in dropped} == {"warning"}
    assert len(numbers) + sum(record["dropped"] for record in dropped) == total
    assert len(numbers) < total


def test_closing_an_unread_log_is_bounded_and_reported(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    with open_log(Level.DEBUG, fd=writer, limits=LogLimits(flush_s=0.01)) as log:
        for _ in range(200):
            log.debug("x", text="y" * 1000)
    assert "could not be written within 0.01 s" in capfd.readouterr().err
    os.close(reader)
    os.close(writer)


def test_a_non_blocking_pipe_loses_nothing() -> None:
    pipe = Pipe()
    os.set_blocking(pipe.writer, False)
    with open_log(Level.DEBUG, fd=pipe.writer) as log:
        for number in range(1000):
            log.debug("x", number=number, text="y" * 500)
        pipe.start_reading()
    assert [record["number"] for record in pipe.finish()] == list(range(1000))


def test_closed_pipe_fails_no_call_and_is_reported_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open_log(Level.DEBUG, fd=writer) as log:
        for _ in range(1000):
            log.debug("x")
    os.close(writer)
    assert capfd.readouterr().err == f"claude-openai: the log cannot be written: {os.strerror(errno.EPIPE)}\n"


@needs("/dev/full")
def test_full_disk_fails_no_call_and_is_reported_once(capfd: pytest.CaptureFixture[str]) -> None:
    with open_log(Level.DEBUG, Path("/dev/full")) as log:
        for _ in range(1000):
            log.debug("x", text="y" * 1000)
    assert capfd.readouterr().err == f"claude-openai: the log cannot be written: {os.strerror(errno.ENOSPC)}\n"


class Disk:
    """Stands in for os.write on the log's thread: so many bytes of room, then it is full; each call is reported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self.calls: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: memoryview) -> int:
        if threading.current_thread().name != "log-writer" or fd <= sys.__stderr__.fileno():  # type: ignore[union-attr]
            return self._write(fd, data)
        if not self.room:
            self.calls.put("full")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        size = self._write(fd, data[: self.room])
        self.room -= size
        self.calls.put("written")
        return size


def test_logging_goes_on_when_a_full_disk_has_room_again_and_half_a_line_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, disk = tmp_path / "log", Disk(monkeypatch, room=100)
    with open_log(Level.DEBUG, path) as log:
        log.debug("torn", text="y" * 200)
        assert [disk.calls.get(timeout=WAIT_S) for _ in range(2)] == ["written", "full"]
        log.debug("lost")
        assert disk.calls.get(timeout=WAIT_S) == "full"
        assert log.bind(a=1).problem == os.strerror(errno.ENOSPC)
        disk.room = 1_000_000
        log.debug("resumed")
        log.debug("last")
    assert log.problem == ""
    torn, *lines = path.read_bytes().splitlines()
    assert torn.startswith(b'{"time":')
    assert not torn.endswith(b"}")
    events = [json.loads(line) for line in lines]
    assert sorted(record["event"] for record in events) == ["last", "log.dropped", "resumed"]
    assert [record["dropped"] for record in events if record["event"] == "log.dropped"] == [2]


@pytest.mark.parametrize("room", [0, 50])
def test_what_was_lost_at_the_very_end_is_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path, disk = tmp_path / "log", Disk(monkeypatch, room)
    with open_log(Level.DEBUG, path) as log:
        log.debug("lost", text="y" * 200)
        while disk.calls.get(timeout=WAIT_S) != "full":
            pass
        disk.room = 1_000_000
    *torn, last = path.read_bytes().splitlines()
    assert [len(line) for line in torn] == [room] * bool(room)
    assert (json.loads(last)["event"], json.loads(last)["dropped"]) == ("log.dropped", 1)


def test_the_queue_has_room_again_for_what_was_written(tmp_path: Path, writes: "queue.SimpleQueue[bytes]") -> None:
    path = tmp_path / "log"
    with open_log(Level.DEBUG, path, limits=LogLimits(queue_bytes=1000)) as log:
        for number in range(100):
            log.debug("x", number=number)
            writes.get(timeout=WAIT_S)
    assert [record["number"] for record in records(path)] == list(range(100))


def test_many_threads_may_log_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(Level.DEBUG, path) as log:

        def work(name: int) -> None:
            for number in range(200):
                log.debug("x", name=name, number=number)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    seen = sorted((record["name"], record["number"]) for record in records(path))
    assert seen == [(name, number) for name in range(8) for number in range(200)]


# The standard library's logging


def test_what_libraries_log_arrives_with_level_message_and_exception(memory: tuple[Log, list[bytes]]) -> None:
    log, lines = memory
    library = logging.getLogger("claude_agent_sdk.client")
    with captured_process(log):
        library.debug("hello %s", "you")
        try:
            raise ValueError("failed with hunter2hunter2")
        except ValueError:
            library.exception("api_key=%s", "abc")
        library.critical("very bad")
        library.log(1, "nearly nothing")
    library.warning("after the end")
    first, second, third = parsed(b"".join(lines))
    assert (first["event"], first["logger"], first["level"]) == ("python.log", "claude_agent_sdk.client", "debug")
    assert first["message"] == "hello you"
    assert (second["level"], second["message"]) == ("error", f"api_key={MASK}")
    assert second["exception"].endswith(f"ValueError: failed with {MASK}\n")
    assert third["level"] == "error"


def test_the_root_logger_is_as_it_was_afterwards(memory: tuple[Log, list[bytes]]) -> None:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.setLevel(logging.CRITICAL)
    try:
        with captured_process(memory[0]):
            assert root.level == Level.TRACE
        assert (root.level, root.handlers) == (logging.CRITICAL, handlers)
    finally:
        root.setLevel(level)


def test_a_library_whose_arguments_do_not_fit_or_raise_is_not_failed(
    memory: tuple[Log, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own would raise

    class Broken:
        def __str__(self) -> NoReturn:
            raise ZeroDivisionError

    log, lines = memory
    with captured_process(log):
        logging.getLogger("mcp").warning("%d and %d", "one")
        logging.getLogger("mcp").warning("%s", Broken())
    first, second = parsed(b"".join(lines))
    assert first["message"] == "%d and %d (arguments that do not fit: ('one',))"
    assert "Message" in second["message"]


def test_below_the_level_libraries_are_not_heard() -> None:
    lines: list[bytes] = []
    with captured_process(Log(Level.WARNING, lines.append, Redactor())):
        logging.getLogger("hypercorn").info("a")
        logging.getLogger("hypercorn").warning("b")
    assert [record["message"] for record in parsed(b"".join(lines))] == ["b"]


def test_without_a_log_libraries_are_silent_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with captured_process(NULL_LOG):
        logging.getLogger("hypercorn").error("a")
    assert capfd.readouterr() == ("", "")


@contextmanager
def propagating_to(lines: list[str]) -> Iterator[None]:
    """A handler of the host's own, on the root logger."""
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def test_in_a_host_only_the_servers_libraries_are_heard_and_the_host_hears_them_too(
    memory: tuple[Log, list[bytes]],
) -> None:
    log, lines = memory
    host: list[str] = []
    with captured_libraries(log), propagating_to(host):
        for name in (*LIBRARIES, "my.program", "asyncio", "trio.async_generator_errors"):
            logging.getLogger(name).warning("by %s", name)
        logging.getLogger().warning("by root")
    assert [record["logger"] for record in parsed(b"".join(lines))] == list(LIBRARIES)
    assert len(host) == len(LIBRARIES) + 4


def test_in_a_host_no_level_changes_so_that_it_hears_no_more_than_before(memory: tuple[Log, list[bytes]]) -> None:
    host: list[str] = []
    with captured_libraries(memory[0]), propagating_to(host):
        logging.getLogger("mcp.client").debug("x")
    assert host == []


# Text


def test_text_is_made_on_the_writers_thread_without_records_below_info(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noting(record: Any, style: Any) -> str | None:
        threads.append(threading.current_thread().name)
        return text_of(record, style)

    monkeypatch.setattr(log_module, "text_of", noting)
    with open_log(Level.TRACE, tmp_path / "log", log_format="text", colours=True) as log:
        assert log.level == Level.INFO
        log.debug("openai.request", model="claude")
        log.info("http.request", method="GET", path="/a\x1b[2J", status=200, duration_ms=1)
        log.warning("run.failed", message="is on the line of its request")
        log.warning("spare.failed", error="no memory")
    assert set(threads) == {"log-writer"}
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.endswith(r" 200 GET /a\x1b[2J total 0.0s")
    assert second.endswith(" warning spare.failed error=no memory")


@pytest.mark.parametrize("log_format", ["auto", "json"])
def test_log_in_a_file_is_json_unless_text_is_asked_for(tmp_path: Path, log_format: LogFormat) -> None:
    with open_log(Level.DEBUG, tmp_path / "log", log_format=log_format) as log:
        log.debug("server.stop")
    assert [record["event"] for record in records(tmp_path / "log")] == ["server.stop"]


@pytest.mark.parametrize("colours", [True, False])
@pytest.mark.parametrize("columns", [60, 200, 0])
def test_log_on_a_terminal_is_text_of_its_width(colours: bool, columns: int) -> None:
    terminal, fd = pty.openpty()
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open_log(Level.DEBUG, log_format="auto", colours=colours, fd=fd) as log:
            log.info("http.request", model="claude", status=200, duration_ms=1, run_id="run_1", waited_ms=1)
        line = os.read(terminal, 4096).decode()
    finally:
        os.close(fd)
        os.close(terminal)
    assert ("wait 0.0s" in line) == (columns != 60)
    assert ("\x1b[32m200\x1b[0m" in line) == colours
    assert line.count("\n") == 1
