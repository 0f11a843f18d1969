"""Times, tokens and dollars as the commands print them."""

import time
from typing import Final

from claude_openai.runs.capture.records import RunRecord

__all__ = ["CURRENT", "clock_time", "cost_of", "dollars", "seconds", "times_of", "tokens_of"]

# States of runs that have not ended.
CURRENT: Final = frozenset({"queued", "running", "parked"})
DAY_S: Final = 24 * 3600.0


def times_of(record: RunRecord, now: float) -> tuple[int | None, int | None]:
    """Return the time in the queue and the whole time of a run, both so far if they have not ended.

    Args:
        record: the run.
        now: the present, in seconds since 1970.

    Returns:
        Two times in ms; None if they are unknown.
    """
    so_far = max(0, round((now - record.started_at) * 1000)) if record.status in CURRENT else None
    waited = so_far if record.status == "queued" else record.waited_ms
    return waited, so_far if record.duration_ms is None else record.duration_ms


def seconds(ms: float | None) -> str:
    return "" if ms is None else f"{ms / 1000:.1f} s"


def tokens_of(record: RunRecord) -> str:
    """Return the tokens in and out."""
    usage = record.usage
    return f"{usage.get('prompt_tokens')}+{usage.get('completion_tokens')}" if usage else ""


def cost_of(record: RunRecord) -> str:
    """Return the dollars, after a tilde if a part of them is estimated."""
    return "" if record.cost_usd is None else f"{'~' if record.estimated_usd else ''}${record.cost_usd:.4f}"


def dollars(usd: float) -> str:
    return f"${usd:.2f}" if usd >= 1 or not usd else f"${usd:.4f}"


def clock_time(at: float, now: float) -> str:
    """Return a local time, with the date unless it is within a day of `now`; both in seconds since 1970."""
    form = "%H:%M" if at - now < DAY_S else "%a %d %b %H:%M"
    return time.strftime(form, time.localtime(at))
