"""Selects lines of a log and formats them, for `logs`. Pure but for the time of day."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from claude_openai.commands.state.run_source import check_id
from claude_openai.errors import ConfigError
from claude_openai.logs.log import Level
from claude_openai.logs.text_format import TextStyle, text_of

__all__ = ["LEVELS", "LogLines", "since_of"]

LEVELS: Final = tuple(level.name.lower() for level in Level)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")


def since_of(text: str, now: float | None = None) -> str:
    """Return the time of the first record to show, in the form that records have, for `10m` or an ISO time.

    Args:
        text: a number with s, m, h or d; or a date or time, local if it names no zone.
        now: the present, in seconds since 1970; by default the clock's.

    Raises:
        ConfigError: the text is neither.
    """
    found = _DURATION.fullmatch(text)
    try:
        if found is not None:
            began = (time.time() if now is None else now) - int(found[1]) * _SECONDS[found[2]]
            moment = datetime.fromtimestamp(began, UTC)
        else:
            moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"--since: invalid time: {text!r}; expected one like 10m, 2h, 1d or 2026-01-31T14:00"
        ) from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class LogLines:
    """Which lines are shown, and how.

    Attributes:
        level: the lowest level to show, "" for all.
        run: a run's id or the beginning of it, "" for all records.
        since: as returned by `since_of`, "" for all.
        style: the text of a record; None to show the lines as they are.
    """

    level: str = ""
    run: str = ""
    since: str = ""
    style: TextStyle | None = None

    @classmethod
    def of(cls, *, level: str, run: str, since: str, style: TextStyle | None) -> "LogLines":
        """Check the values of the flags, "" for a flag that is not set.

        Raises:
            ConfigError: one of them is invalid.
        """
        if level and level not in LEVELS:
            raise ConfigError(f"--level: invalid level: {level!r}; expected one of {', '.join(LEVELS)}")
        # Text is about requests and warnings; at debug each request has ten more records.
        least = level or ("" if style is None else "info")
        return cls(least, check_id(run) if run else "", since_of(since) if since else "", style)

    @property
    def is_everything(self) -> bool:
        return self == LogLines()

    def shown(self, line: bytes) -> bytes | None:
        """Return what to print for a line, newline included; None to leave it out.

        Args:
            line: a line of the log; lines that are not JSON are left out.
        """
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(record, dict) or not self._selects(record):
            return None
        if self.style is None:
            return line.rstrip(b"\n") + b"\n"
        text = text_of(record, self.style)
        return None if text is None else f"{text}\n".encode()

    def _selects(self, record: Mapping[str, Any]) -> bool:
        number = LEVELS.index(record["level"]) if record.get("level") in LEVELS else len(LEVELS)
        return (
            (not self.level or number >= LEVELS.index(self.level))
            and str(record.get("run_id", "")).startswith(self.run)
            and str(record.get("time", "")) >= self.since
        )
