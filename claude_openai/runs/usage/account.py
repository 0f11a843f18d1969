"""The usage windows of the account as last seen, and warnings about them.

A window whose reset has passed counts as unknown: only the next answer of Claude shows its new state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from claude_openai.logs.log import Log
from claude_openai.protocol.turn.reports import AccountLimits, Window

__all__ = ["AccountWindows", "SeenWindow"]

WARN_AT: Final = 0.8
# The names are labels of metrics, so their number is bounded.
MAX_WINDOWS: Final = 16
# The windows for all models; others, like `seven_day_opus`, are for one.
PLAN_WINDOWS: Final = frozenset({"five_hour", "seven_day"})


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """A window, and the Unix time at which it was seen."""

    window: Window
    seen_at: float


@dataclass(slots=True)
class AccountWindows:
    """The limits of the account."""

    windows: dict[str, SeenWindow] = field(default_factory=dict)
    overage: str = ""
    uses_overage: bool = False
    _warned: set[tuple[str, float | None, bool]] = field(default_factory=set)

    def note(self, limits: AccountLimits, now: float, log: Log) -> None:
        """Take limits, and log each window that has passed 80 % or is used up, once until it resets."""
        for name, window in limits.windows.items():
            self._put(name, SeenWindow(window, now))
        high = {(name, window.resets_at, _is_used_up(window)): window for name, window in self._high(now)}
        for name, resets_at, is_used_up in high.keys() - self._warned:
            window = high[name, resets_at, is_used_up]
            log.warning("limit.warning", window=name, utilization=window.utilization, resets_at=resets_at)
        self._warned = set(high)
        if limits.uses_overage and not self.uses_overage:
            log.warning("limit.overage", status=limits.overage)
        self.overage, self.uses_overage = limits.overage, limits.uses_overage

    def current(self, now: float) -> Iterator[tuple[str, Window]]:
        """Yield the windows that have not reset since they were seen."""
        for name, seen in self.windows.items():
            if seen.window.resets_at is None or seen.window.resets_at > now:
                yield name, seen.window

    def is_used_up(self, now: float, within_s: float) -> bool:
        """Return whether a window for all models was used up when it was seen, within the last seconds.

        It does not count while requests beyond the plan are paid.
        """
        used_up = [name for name, window in self.current(now) if name in PLAN_WINDOWS and window.status == "rejected"]
        return not self.uses_overage and any(now < self.windows[name].seen_at + within_s for name in used_up)

    def header(self, now: float) -> str:
        """Return the value of the response header: the windows beyond 80 %; "" for none."""
        return ", ".join(
            f"{name}={window.utilization:g}{'' if window.resets_at is None else f';reset={window.resets_at:.0f}'}"
            for name, window in self._high(now)
            if window.utilization is not None
        )

    def to_json(self, now: float) -> dict[str, Any]:
        """Return `windows` and `overage` of `GET /v1/usage`."""
        current = dict(self.current(now))
        windows = [
            {
                "window": name,
                "utilization": seen.window.utilization if name in current else None,
                "resets_at": seen.window.resets_at,
                "status": seen.window.status if name in current else "reset",
                "age_s": max(0, round(now - seen.seen_at)),
            }
            for name, seen in self.windows.items()
        ]
        return {"windows": windows, "overage": {"status": self.overage or None, "in_use": self.uses_overage}}

    def stored(self) -> dict[str, Any]:
        """Return what `restore` takes, as JSON."""
        windows = {name: {**asdict(seen.window), "seen_at": seen.seen_at} for name, seen in self.windows.items()}
        return {"windows": windows, "overage": self.overage, "uses_overage": self.uses_overage}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take stored limits. What another version has stored in another form is ignored."""
        try:
            for name, window in stored["windows"].items():
                seen_at = float(window["seen_at"])
                if name not in self.windows or self.windows[name].seen_at < seen_at:
                    known = Window(window["utilization"], window["resets_at"], window["status"])
                    self._put(str(name), SeenWindow(known, seen_at))
            self.overage, self.uses_overage = str(stored["overage"]), bool(stored["uses_overage"])
        except (LookupError, TypeError, ValueError, AttributeError):
            return

    def _put(self, name: str, seen: SeenWindow) -> None:
        if name in self.windows or len(self.windows) < MAX_WINDOWS:
            self.windows[name] = seen

    def _high(self, now: float) -> Iterator[tuple[str, Window]]:
        for name, window in self.current(now):
            if (window.utilization or 0) >= WARN_AT or _is_used_up(window):
                yield name, window


def _is_used_up(window: Window) -> bool:
    return (window.utilization or 0) >= 1 or window.status == "rejected"
