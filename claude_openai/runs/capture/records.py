"""The public record of a run, and the lines of its file.

A run's file has one JSON object a line: `asked`, then the events in order, then `end`. Each line has `t`, in ms since
the request, and `type`. The last `end` counts: a parked run may be cancelled after its answer. The prompt is never
stored. Pure, and with few imports, since the commands use it too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from claude_openai.line_writer import json_line
from claude_openai.protocol.turn.events import ToolCall, TurnStarted

__all__ = ["RUN_ID", "USD_DIGITS", "RunRecord", "RunStatus", "is_end", "line_of", "read_line", "record_of_event"]

RunStatus: TypeAlias = Literal["queued", "running", "parked", "completed", "failed", "cancelled"]

RUN_ID: Final = re.compile(r"run_[0-9a-f]{24}")
# Dollars are sums of floats, whose noise begins at the 16th digit.
USD_DIGITS: Final = 9
STATUSES: Final = frozenset({"queued", "running", "parked", "completed", "failed", "cancelled"})


@dataclass(slots=True)
class RunRecord:
    """One run, as `claude-openai runs --json` shows it.

    Attributes:
        model: the client's name of the model.
        conversation: the route of the turn, None before Claude answered.
        started_at: time of the request, in seconds since 1970.
        ended_at: time of the answer's end, None before.
        waiting_for: "slot" while all slots are taken (`--max-concurrency`), None if it does not wait.
        waited_ms: time in the queue, None before its end.
        usage: OpenAI's usage object.
        error: OpenAI's error object, without its envelope.
        cost_usd: dollars, None if there was no report of any.
        cache: what Claude's prompt cache had of the prompt, see `CacheReport`; None before the answer is complete.
        estimated_usd: the part of them that is estimated, or replaces estimates of earlier runs; None as above.
        key: name of the client's key, None if it has no name.
    """

    id: str
    backend: str
    model: str
    started_at: float
    status: RunStatus = "queued"
    conversation: str | None = None
    ended_at: float | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    waiting_for: str | None = None
    waited_ms: int | None = None
    cost_usd: float | None = None
    estimated_usd: float | None = None
    cache: dict[str, Any] | None = None
    key: str | None = None

    def spend(self, usd: float, estimated_usd: float) -> None:
        """Add dollars, of which a part is estimated."""
        self.cost_usd = round((self.cost_usd or 0.0) + usd, USD_DIGITS)
        self.estimated_usd = round((self.estimated_usd or 0.0) + estimated_usd, USD_DIGITS)

    @property
    def duration_ms(self) -> int | None:
        return None if self.ended_at is None else _ms(self.ended_at) - _ms(self.started_at)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "backend": self.backend,
            "model": self.model,
            "key": self.key,
            "conversation": self.conversation,
            "started_at": _iso(self.started_at),
            "ended_at": None if self.ended_at is None else _iso(self.ended_at),
            "waiting_for": self.waiting_for,
            "waited_ms": self.waited_ms,
            "duration_ms": self.duration_ms,
            "usage": self.usage,
            "cost_usd": self.cost_usd,
            "estimated_usd": self.estimated_usd,
            "cache": self.cache,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RunRecord | None":
        """Parse a record; return None if it is invalid: files may be damaged, a server may be of another version."""
        try:
            ended, usage, error, way = (data.get(name) for name in ("ended_at", "usage", "error", "conversation"))
            key = data.get("key")
            status, waited, cache = data["status"], data.get("waited_ms"), data.get("cache")
            if not RUN_ID.fullmatch(data["id"]) or status not in STATUSES:
                return None
            return cls(
                id=data["id"],
                backend=str(data["backend"]),
                model=str(data["model"]),
                started_at=_seconds(data["started_at"]),
                status=status,
                waiting_for="slot" if status == "queued" and data.get("waiting_for") == "slot" else None,
                conversation=None if way is None else str(way),
                ended_at=None if ended is None else _seconds(ended),
                usage=usage if isinstance(usage, dict) else None,
                error=error if isinstance(error, dict) else None,
                waited_ms=waited if isinstance(waited, int) else None,
                cost_usd=_dollars(data.get("cost_usd")),
                estimated_usd=_dollars(data.get("estimated_usd")),
                cache=cache if isinstance(cache, dict) else None,
                key=None if key is None else str(key),
            )
        except (KeyError, TypeError, ValueError):
            return None


def record_of_event(event: TurnStarted | ToolCall) -> dict[str, Any]:
    """Return the record of an event that is not a delta."""
    if isinstance(event, TurnStarted):
        return {"type": "answering", "model": event.model, "conversation": event.conversation}
    return {"type": "tool_call", "id": event.id, "name": event.name, "arguments": event.arguments}


def line_of(at_ms: float, record: Mapping[str, Any]) -> bytes:
    """Return the line of a record, `at_ms` after the request."""
    return json_line({"t": round(at_ms), **record})


def read_line(line: bytes) -> dict[str, Any]:
    """Parse a line; return a record without a type if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def is_end(line: bytes) -> bool:
    return b'"type":"end"' in line[:64] and read_line(line).get("type") == "end"


def _dollars(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(seconds: float) -> int:
    """Round to ms like `_iso`, so that a duration is the same from a server and from a file."""
    return round(_seconds(_iso(seconds)) * 1000)


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
