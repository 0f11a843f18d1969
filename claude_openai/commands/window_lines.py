"""The usage windows of the account as text, for `status` and `usage`. Imports next to nothing: see `status`."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["window_lines"]

DAY_S: Final = 24 * 3600.0


def window_lines(usage: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each window in the body of `GET /v1/usage`, and one for usage beyond the plan."""
    for window in usage.get("windows") or ():
        seen = f"seen {_ago(window['age_s'])} ago" if window["age_s"] is not None else "never seen"
        if window["utilization"] is None:
            state = "has reset since" if window["status"] == "reset" else window["status"] or "unknown"
        else:
            state = f"{window['utilization'] * 100:.0f} % used"
            if window["resets_at"] is not None:
                state += f", resets {_when(window['resets_at'])}"
        yield f"{window['window']}: {state} ({seen})"
    if (usage.get("overage") or {}).get("in_use"):
        yield "overage: requests are paid beyond the plan"


def _when(at: float) -> str:
    form = "%H:%M" if at - time.time() < DAY_S else "%a %d %b %H:%M"
    return time.strftime(form, time.localtime(at))


def _ago(seconds: int) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
