"""The state of the server, merged from the events of `GET /control/watch`. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from claude_openai.commands.figures import CURRENT
from claude_openai.commands.state.run_source import visible
from claude_openai.runs.capture.records import RunRecord

__all__ = ["MAX_RUNS", "Feed", "WatchedRun"]

MAX_RUNS: Final = 1000


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run.

    Attributes:
        client: name of the client, "" if it is unknown.
        ttft_ms: time to the first token, None until it is known.
        text: the end of the answer so far.
        hint: what to do about the run's error.
    """

    record: RunRecord
    client: str = ""
    ttft_ms: float | None = None
    text: str = ""
    hint: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "WatchedRun | None":
        """Parse a run; return None if it is invalid: the server may be of another version."""
        record = RunRecord.from_json(data)
        if record is None:
            return None
        ttft = data.get("ttft_ms")
        client, text, hint = (visible(str(data.get(name) or "")) for name in ("client", "text", "hint"))
        client = " · ".join(filter(None, (visible(record.key or ""), client)))
        return cls(record, client, float(ttft) if isinstance(ttft, int | float) else None, text, hint)

    @property
    def is_current(self) -> bool:
        return self.record.status in CURRENT


@dataclass(frozen=True, slots=True)
class Feed:
    """What the server has sent.

    Attributes:
        server: the object `server` of the last snapshot.
        state: the object `state`, with its updates.
        runs: the current runs, then the ended runs; in each group the newest first.
    """

    server: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[WatchedRun, ...] = ()

    def merge(self, event: str, data: Mapping[str, Any]) -> "Feed":
        """Return the state after an event. Unknown events change nothing.

        Args:
            event: name of the event: `snapshot` or `update`.
            data: its object.
        """
        runs = [run for run in map(WatchedRun.from_json, data.get("runs", ())) if run is not None]
        if event == "snapshot":
            return Feed(data.get("server", {}), data.get("state", {}), _sorted(runs))
        if event == "update":
            known = {run.record.id: run for run in self.runs} | {run.record.id: run for run in runs}
            # An update has only the keys of the state that have changed.
            state = {**self.state, **data.get("state", {})}
            return replace(self, state=state, runs=_sorted(known.values()))
        return self

    def run(self, run_id: str | None) -> WatchedRun | None:
        """Return the run with this id, None if there is none."""
        return next((run for run in self.runs if run.record.id == run_id), None)


def _sorted(runs: Iterable[WatchedRun]) -> tuple[WatchedRun, ...]:
    newest_first = sorted(runs, key=lambda run: (run.is_current, run.record.started_at), reverse=True)
    return tuple(newest_first[:MAX_RUNS])
