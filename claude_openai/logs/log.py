"""The log: one JSON object a line, or text on a terminal; five levels, no secrets.

A record is `time`, `level`, `event` and the fields of the call, cleaned by `redaction` in the call itself and written
by a thread of `writer`, which also makes the text. A call never waits and never fails; below the level it costs a
comparison. At `info` a request leaves one line, `debug` shows requests and answers, `trace` the raw frames.

The log reads no configuration, and imports neither trio nor the SDK.
"""

import contextlib
import json
import logging
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Final, Literal, TypeAlias

from claude_openai.errors import ConfigError
from claude_openai.line_writer import json_line
from claude_openai.logs.redaction import Json, Redactor
from claude_openai.logs.text_format import TextStyle, text_of
from claude_openai.logs.writer import DEFAULT_LIMITS, LogLimits, LogWriter, open_log_file

__all__ = [
    "LIBRARIES",
    "NULL_LOG",
    "Level",
    "Log",
    "LogFormat",
    "captured_libraries",
    "captured_process",
    "open_log",
    "traceback_of",
]

# Loggers of the libraries that serve a request. Those of the runtime (asyncio, concurrent.futures, trio) are left to
# the program around the server: with another handler its own failures would no longer be printed.
LIBRARIES: Final = (
    "PIL",
    "claude_agent_sdk",
    "claude_openai",
    "hypercorn",
    "mcp",
    "opentelemetry",
    "quart",
    "werkzeug",
)
_STDOUT = 1
LogFormat: TypeAlias = Literal["auto", "json", "text"]
_RESERVED = frozenset({"time", "level", "event"})


class Level(IntEnum):
    """The numbers are those of `logging`, which has no trace."""

    TRACE = 5
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error, for the log."""
    return "".join(traceback.format_exception(error))


_OFF: Final = 100
_TRACE, _DEBUG, _INFO, _WARNING, _ERROR = Level
_NAMES: Final = {level: level.name.lower() for level in Level}


class Log:
    """Logs events, as in `log.debug("openai.request", model=..., stream=True)`.

    Fields may have any value, see `redaction`. A field named like a key of the record gets a trailing underscore.

    Args:
        level: the lowest level that is written; a value above all levels turns the log off.
        put: queues one finished line, newline included, without waiting.
        redactor: cleans fields, and the event's name.
        fields: cleaned fields for every record.
        problem: returns why records are lost now, "" if they are written.
    """

    __slots__ = ("_fields", "_level", "_problem", "_put", "_redactor")

    def __init__(
        self,
        level: int,
        put: Callable[[bytes], None],
        redactor: Redactor,
        fields: Mapping[str, Json] | None = None,
        problem: Callable[[], str] = str,
    ) -> None:
        self._level = int(level)
        self._put = put
        self._redactor = redactor
        self._fields = dict(fields or {})
        self._problem = problem

    @property
    def problem(self) -> str:
        """Why records are lost now, without the path of the file; "" if they are written."""
        return self._problem()

    @property
    def level(self) -> int:
        return self._level

    def enabled(self, level: Level) -> bool:
        """Whether a record of this level would be written; for callers whose fields are expensive."""
        return level >= self._level

    def bind(self, /, **fields: object) -> "Log":
        """Return a log that adds these fields to every record; they are cleaned once, now."""
        if self._level >= _OFF:
            return self
        return Log(self._level, self._put, self._redactor, {**self._fields, **self._cleaned(fields)}, self._problem)

    def trace(self, event: str, /, **fields: object) -> None:
        if self._level <= _TRACE:
            self._write(_TRACE, event, fields)

    def debug(self, event: str, /, **fields: object) -> None:
        if self._level <= _DEBUG:
            self._write(_DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        if self._level <= _INFO:
            self._write(_INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        if self._level <= _WARNING:
            self._write(_WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        if self._level <= _ERROR:
            self._write(_ERROR, event, fields)

    def log(self, level: Level, event: str, /, **fields: object) -> None:
        """Log an event at a level that is a variable."""
        if self._level <= level:
            self._write(level, event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        shown = self._redactor.text(str(event))
        self._put(_line(level, shown, {**self._fields, **self._cleaned(fields)}))

    def _cleaned(self, fields: dict[str, object]) -> dict[str, Json]:
        cleaned = self._redactor.fields(fields)
        return {f"{name}_" if name in _RESERVED else name: value for name, value in cleaned.items()}


def _line(level: Level, event: str, fields: Mapping[str, Json]) -> bytes:
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json_line({"time": time, "level": _NAMES[level], "event": event, **fields})


def _drop(_line: bytes) -> None:
    return None


NULL_LOG: Final = Log(_OFF, _drop, Redactor())


def _dropped_line(count: int) -> bytes:
    return _line(_WARNING, "log.dropped", {"dropped": count})


def _own_fd(path: Path | None, fd: int) -> int:
    """Return a descriptor of our own: after `>&-` a client's socket may get the number of standard output."""
    if path is not None:
        return open_log_file(path)
    try:
        return os.dup(fd)
    except OSError as error:
        raise ConfigError("cannot write the log: standard output is closed") from error


def _renderer(fd: int, *, colours: bool) -> Callable[[bytes], bytes]:
    """Return a function that converts a line of JSON to text, for the present width of the terminal behind `fd`."""

    def render(line: bytes) -> bytes:
        try:
            width = os.get_terminal_size(fd).columns
        except OSError:  # not a terminal, or closed
            width = 0
        text = text_of(json.loads(line), TextStyle(width or None, colours=colours, is_live=True))
        return b"" if text is None else f"{text}\n".encode()

    return render


@contextlib.contextmanager
def open_log(
    level: Level | None,
    path: Path | None = None,
    *,
    log_format: LogFormat = "json",
    colours: bool = False,
    secrets: Iterable[str] = (),
    fd: int = _STDOUT,
    limits: LogLimits = DEFAULT_LIMITS,
) -> Iterator[Log]:
    """Open a log to `path`, or to `fd` without a path, with the thread that writes it.

    The end of the block waits up to `limits.flush_s` seconds for the last records: do not leave it on the event loop.

    Args:
        level: the lowest level to write; None for no log.
        path: the log file; created with its folder if missing, readable by its owner only; otherwise appended to.
        log_format: `text` has no records below `info`; `auto` is `text` on a terminal, else `json`.
        colours: whether text is coloured on a terminal.
        secrets: values that are masked wherever they appear, see `Redactor`.
        fd: standard output; not closed.
        limits: how much may wait and be written.

    Raises:
        ConfigError: the file cannot be opened or is a symbolic link, or standard output is closed.
    """
    if level is None:
        yield NULL_LOG
        return
    own_fd = _own_fd(path, fd)
    is_terminal, render = os.isatty(own_fd), None
    if log_format == "text" or (log_format == "auto" and is_terminal):
        level, render = max(level, Level.INFO), _renderer(own_fd, colours=colours and is_terminal)
    writer = LogWriter(own_fd, path, _dropped_line, limits, render)
    try:
        yield Log(level, writer.put, Redactor(secrets), problem=lambda: writer.problem)
    finally:
        writer.close()


class _Message:
    """The text of a library's record, as a repr: the redactor catches exceptions of reprs."""

    def __init__(self, record: logging.LogRecord) -> None:
        self._record = record

    def __repr__(self) -> str:
        try:
            return self._record.getMessage()
        except (TypeError, ValueError, LookupError):
            return f"{self._record.msg} (arguments that do not fit: {self._record.args!r})"


class _Bridge(logging.Handler):
    """Records of the standard library's logging, as `python.log` events."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = max((level for level in Level if level <= record.levelno), default=_TRACE)
        if not self._log.enabled(level):
            return
        fields: dict[str, object] = {"logger": record.name, "message": _Message(record)}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        self._log.log(level, "python.log", **fields)


@contextlib.contextmanager
def captured_libraries(log: Log) -> Iterator[None]:
    """Also send records of `LIBRARIES` to `log`, for a server inside another program.

    No level is changed, because a lower one would show the records to the handlers of the program too.
    """
    loggers, bridge = [logging.getLogger(name) for name in LIBRARIES], _Bridge(log)
    for logger in loggers:
        logger.addHandler(bridge)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(bridge)


@contextlib.contextmanager
def captured_process(log: Log) -> Iterator[None]:
    """Send all records of this process to `log`, down to its level; restore the root logger at the end.

    For a process that has one server and nothing else: the level is that of the root logger.
    """
    root = logging.getLogger()
    bridge, level_before = _Bridge(log), root.level
    root.addHandler(bridge)
    root.setLevel(log.level)
    try:
        yield
    finally:
        root.setLevel(level_before)
        root.removeHandler(bridge)
