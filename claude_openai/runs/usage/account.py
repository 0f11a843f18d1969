"""The usage windows of the account as last seen, and warnings about them.

A window whose reset has passed counts as unknown: only the next answer of Claude shows its new state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from claude_openai.logs.log import Log
from claude_openai.protocol.turn.reports import AccountLimits, Window

__all__ = ["AccountWindows", "limits_from_json", "limits_to_json"]

WARN_AT: Final = 0.8
# `/ready` ignores a refusal after this time: its owner may have raised the limit, which only a turn can show.
REFUSAL_DOUBT_S: Final = 300.0


@dataclass(slots=True)
class AccountWindows:
    """The limits of the account, and when they were seen (Unix time)."""

    limits: AccountLimits = field(default_factory=AccountLimits)
    seen_at: float | None = None
    _warned: set[tuple[str, float | None, bool]] = field(default_factory=set)

    def note(self, limits: AccountLimits, seen_at: float, log: Log) -> None:
        """Take new limits, and log each window that has passed 80 % or is used up, once until it resets."""
        was_overage = self.limits.uses_overage
        # An event without windows says nothing about them.
        windows = limits.windows or self.limits.windows
        self.limits = AccountLimits(
            limits.rejected, limits.resets_at, windows, limits.overage, uses_overage=limits.uses_overage
        )
        self.seen_at = seen_at
        fresh = set()
        for name, window in self._high(seen_at):
            is_used_up = (window.utilization or 0) >= 1 or window.status == "rejected"
            mark = (name, window.resets_at, is_used_up)
            fresh.add(mark)
            if mark not in self._warned:
                log.warning("limit.warning", window=name, utilization=window.utilization, resets_at=window.resets_at)
        self._warned = fresh
        if limits.uses_overage and not was_overage:
            log.warning("limit.overage", status=limits.overage)

    def current(self, now: float) -> Iterator[tuple[str, Window]]:
        """Yield the windows that have not reset since they were seen."""
        for name, window in self.limits.windows.items():
            if window.resets_at is None or window.resets_at > now:
                yield name, window

    def header(self, now: float) -> str:
        """Return the value of the response header: the windows beyond 80 %; "" for none."""
        return ", ".join(
            f"{name}={window.utilization:g}{'' if window.resets_at is None else f';reset={window.resets_at:.0f}'}"
            for name, window in self._high(now)
            if window.utilization is not None
        )

    def is_used_up(self, now: float) -> bool:
        """Return whether Claude refused a request because of its limits within the last 5 minutes."""
        limits = self.limits
        is_over = limits.resets_at is not None and limits.resets_at <= now
        return limits.rejected and not is_over and self.seen_at is not None and now - self.seen_at < REFUSAL_DOUBT_S

    def to_json(self, now: float) -> dict[str, Any]:
        age_s = None if self.seen_at is None else max(0, round(now - self.seen_at))
        current = dict(self.current(now))
        windows = [
            {
                "window": name,
                "utilization": window.utilization if name in current else None,
                "resets_at": window.resets_at,
                "status": window.status if name in current else "reset",
                "age_s": age_s,
            }
            for name, window in self.limits.windows.items()
        ]
        overage = {"status": self.limits.overage or None, "in_use": self.limits.uses_overage}
        return {"windows": windows, "overage": overage}

    def _high(self, now: float) -> Iterator[tuple[str, Window]]:
        for name, window in self.current(now):
            if (window.utilization or 0) >= WARN_AT or window.status == "rejected":
                yield name, window


def limits_to_json(limits: AccountLimits) -> dict[str, Any]:
    return asdict(limits)


def limits_from_json(data: Mapping[str, Any]) -> AccountLimits | None:
    """Return stored limits; None if another version has stored them, or they are damaged."""
    try:
        windows = {str(name): Window(**window) for name, window in data["windows"].items()}
        return AccountLimits(**{**data, "windows": windows})
    except (LookupError, TypeError, AttributeError):
        return None
