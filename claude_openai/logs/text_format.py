"""Formats log records as text for people: one line a request, and warnings.

Pure. A client chooses some fields, such as the model: characters that could control the terminal are escaped. A line of
a request that is too wide loses its least important columns; the text of an error continues on further lines.
"""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

__all__ = ["TextStyle", "text_of"]

# `http.request` has the error of the run too.
REDUNDANT: Final = frozenset({"run.failed", "confinement.tried"})
# A server in the foreground prints them to standard error.
ANNOUNCED: Final = frozenset({"claude.login_missing", "claude.missing", "claude.outdated", "server.drain"})
# Libraries log each of their steps at `info`.
LIBRARIES_EVENT: Final = "python.log"
# Left out of a line: ids of the request, and texts of many lines.
UNSHOWN: Final = frozenset(
    {"time", "level", "event", "message", "request_id", "client_request_id", "traceback", "exception"}
)
VALUE_CHARS: Final = 200

# Columns of the model, below and from `WIDE` columns of the terminal on.
MODEL: Final = 16
WIDE_MODEL: Final = 28
WIDE: Final = 110
STATUS: Final = 3
MIN_TEXT: Final = 20
# Of a run's id: the commands accept its beginning.
RUN_CHARS: Final = 12
# The columns of a turn that may be left out, the most important first.
EXPENDABLE: Final = ("tokens", "run", "wait", "route", "first")

DIM, RED, GREEN, YELLOW, MAGENTA = "2", "31", "32", "33", "35"
LEVEL_COLOURS: Final = {"warning": YELLOW, "error": RED}
CLIENT_LEFT: Final = 499


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How lines look.

    Attributes:
        width: columns of the terminal; None for lines of any length.
        colours: whether to colour lines, with ANSI escape sequences.
        has_date: whether the time has the date.
        zone: time zone; None for the local one.
        is_live: whether the lines are those of a server in the foreground.
    """

    width: int | None = None
    colours: bool = False
    has_date: bool = False
    zone: tzinfo | None = None
    is_live: bool = False

    def room(self, used: int) -> float:
        """Return the columns that are left."""
        return float("inf") if self.width is None else self.width - used


def text_of(record: Mapping[str, Any], style: TextStyle) -> str | None:
    """Return the text of a record, without its last newline; None for a record that is not shown.

    Args:
        record: the JSON object of a line of the log.
        style: how it looks.
    """
    event, level = str(record.get("event")), str(record.get("level"))
    if event in REDUNDANT or (style.is_live and event in ANNOUNCED):
        return None
    if event == LIBRARIES_EVENT and level not in LEVEL_COLOURS:
        return None
    time = _time(record.get("time"), style)
    if event != "http.request":
        cells = [(time, DIM), (_plain(level), LEVEL_COLOURS.get(level, ""))]
        return _line(cells, _facts(record), "", len(time) + 1, style)
    indent = len(time) + STATUS + 2
    cells = [(time, DIM), (_plain(record.get("status")).rjust(STATUS), _status_colour(record))]
    about = _turn(record, style, indent) if "model" in record else _other_request(record, style, indent)
    return _line([*cells, *((cell, "") for cell in about)], _error(record), RED, indent, style)


def _line(cells: list[tuple[str, str]], text: str, colour: str, indent: int, style: TextStyle) -> str:
    """Join cells and a text, which continues on lines of its own if it does not fit."""
    line = " ".join(_paint(cell, code, style) for cell, code in cells)
    used = sum(len(cell) + 1 for cell, _ in cells)
    if len(text) <= style.room(used):
        return f"{line} {_paint(text, colour, style)}".rstrip()
    width = max(MIN_TEXT, int(style.room(indent)))
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return "\n".join([line.rstrip(), *(" " * indent + _paint(each, colour, style) for each in lines)])


def _turn(record: Mapping[str, Any], style: TextStyle, indent: int) -> list[str]:
    """Return the columns of a turn that fit the terminal. Their width is fixed, so that lines align."""
    columns = MODEL if style.room(0) < WIDE else WIDE_MODEL
    tokens = [_plain(record.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    cells = {
        "model": _cut(_plain(record["model"]), columns).ljust(columns),
        "route": _plain(record.get("conversation")).ljust(9),
        "wait": _seconds("wait", record.get("waited_ms")).ljust(11),
        "first": _seconds("first", record.get("ttft_ms")).ljust(12),
        "total": _seconds("total", record.get("duration_ms")).ljust(12),
        "tokens": (f"{'+'.join(tokens)} tok" if all(tokens) else "").ljust(15),
        "run": _plain(record.get("run_id"))[:RUN_CHARS].ljust(RUN_CHARS),
    }
    shown = ["model", "total"]
    for name in EXPENDABLE:
        if style.room(indent + sum(len(cells[each]) + 1 for each in (*shown, name)) - 1) < 0:
            break
        shown.append(name)
    return [cell for name, cell in cells.items() if name in shown]


def _other_request(record: Mapping[str, Any], style: TextStyle, indent: int) -> list[str]:
    took = _seconds("total", record.get("duration_ms"))
    asked = f"{_plain(record.get('method'))} {_plain(record.get('path'))}"
    return [_cut(asked, max(MIN_TEXT, style.room(indent + len(took) + 1))), took]


def _error(record: Mapping[str, Any]) -> str:
    if "code" not in record:
        return ""
    field, message = _plain(record.get("param")), _printable(str(record.get("message", "")))
    return f"{_plain(record['code'])}{f' ({field})' if field else ''}{f': {message}' if message else ''}"


def _facts(record: Mapping[str, Any]) -> str:
    event, message = _plain(record.get("event")), _printable(str(record.get("message", "")))
    fields = {name: value for name, value in record.items() if name not in UNSHOWN and value not in (None, "")}
    if "run_id" in fields:
        fields["run_id"] = _plain(fields["run_id"])[:RUN_CHARS]
    shown = [f"{_plain(name)}={_cut(_printable(_as_text(value)), VALUE_CHARS)}" for name, value in fields.items()]
    return " ".join([f"{event}: {message}" if message else event, *shown])


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: object) -> str:
    """Return a value in ASCII, so that each character takes one column."""
    text = "" if value is None else _as_text(value)
    return _printable(text if text.isascii() else text.encode("ascii", "backslashreplace").decode())


def _printable(text: str) -> str:
    """Escape control characters, marks that change the direction of text, and line separators."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _cut(text: str, columns: float) -> str:
    return text if len(text) <= columns else f"{text[: int(columns) - 1]}…"


def _seconds(label: str, ms: object) -> str:
    # A number of a damaged log may be too large to be divided.
    return f"{label} {ms / 1000:.1f}s" if isinstance(ms, int | float) and 0 <= ms < 1e9 else ""


def _time(value: object, style: TextStyle) -> str:
    try:
        moment = datetime.fromisoformat(str(value)).astimezone(style.zone)
    except (ValueError, OverflowError, OSError):
        return _cut(_plain(value), 8)
    return moment.strftime("%m-%d %H:%M:%S" if style.has_date else "%H:%M:%S")


def _status_colour(record: Mapping[str, Any]) -> str:
    status = record.get("status")
    if status == CLIENT_LEFT:
        return MAGENTA
    if not isinstance(status, int) or status >= 500 or (status < 400 and "code" in record):
        return RED
    return GREEN if status < 400 else YELLOW


def _paint(text: str, colour: str, style: TextStyle) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if style.colours and colour and text else text
