"""Counts the requests of monitors and of the commands that watch the server, which would otherwise fill the log.

A health check every 30 s is 2,880 lines a day. The log gets their number once an hour and when the server stops.
"""

from collections import Counter
from typing import Final

import trio

from claude_openai.logs.log import Log

__all__ = ["ProbeCount", "is_probe"]

PROBE_ROUTES: Final = frozenset(
    {"/health", "/ready", "/metrics", "/control/status", "/control/runs", "/", "/dashboard", "/dashboard/{name}"}
)
WATCH_ROUTE: Final = "/control/watch"
# Of a request whose client left, which ends most streams of watchers.
CLIENT_LEFT: Final = 499
NOT_READY: Final = 503
REPORT_EVERY_S: Final = 3600.0


def is_probe(route: str, status: int) -> bool:
    """Return whether a request is only counted: a monitor's, and answered with 200, or with 503 while not ready."""
    if route == WATCH_ROUTE:
        return status < 400 or status == CLIENT_LEFT
    return route in PROBE_ROUTES and (status < 400 or (route == "/ready" and status == NOT_READY))


class ProbeCount:
    """The number of probes since the last report.

    Args:
        log: gets the reports.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()
        self._due = 0.0

    def note(self, route: str, status: int) -> None:
        """Count a probe; report once the first of them is an hour old."""
        now = trio.current_time()
        if not self._counts:
            self._due = now + REPORT_EVERY_S
        self._counts[route if status < 400 else f"{route} {status}"] += 1
        if now >= self._due:
            self.report()

    def report(self) -> None:
        """Log the number of probes by route since the last report, unless there were none."""
        if self._counts:
            self._log.info("http.probes", counts=dict(self._counts))
            self._counts.clear()
