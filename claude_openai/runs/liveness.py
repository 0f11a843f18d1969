"""Bounds the time of a turn: the time without a sign of life, and the total time.

A turn with signs of life may take any time by default; a turn without them is cancelled. Signs of life come many
thousand times a second, and moving a deadline costs trio ten times as much as reading its clock. So a sign only stores
the time, and a task sleeps until the turn would be overdue and checks it then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import trio

from claude_openai.errors import TurnTimeout

__all__ = ["Liveness"]


class Liveness:
    """Watches one turn; its time begins now.

    Args:
        silence_s: longest time without a sign of life, in seconds.
        total_s: longest total time in seconds, with waits for the client; 0 for no bound.

    Attributes:
        expired: the error, once the turn has been cancelled for one of the two.
    """

    def __init__(self, silence_s: float, total_s: float) -> None:
        self._silence_s = silence_s
        self._total_s = total_s
        self._ends_at = trio.current_time() + (total_s or inf)
        self._what = ""
        self._last = trio.current_time()
        self._busy_until = -inf
        self._held = False
        self.expired: TurnTimeout | None = None

    def note(self, what: str) -> None:
        """Note an event of the turn; `what` is its name for the error message."""
        self._what, self._last = what, trio.current_time()

    def alive(self, what: str, for_s: float) -> None:
        """Note a sign of life from the backend.

        Args:
            what: its name for the error message.
            for_s: seconds until the next sign is expected; until then silence does not count. Replaces the value of the
                previous sign.
        """
        self.note(what)
        self._busy_until = self._last + for_s

    @contextmanager
    def held(self) -> Iterator[None]:
        """Do not count the time within the block, in which the client does not read."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._last = trio.current_time()

    async def watch(self, turn: trio.CancelScope) -> None:
        """Cancel the turn when it is overdue, and return; otherwise run until cancelled."""
        while (overdue_at := self._overdue_at()) > trio.current_time():  # noqa: ASYNC110 - signs set no event: cost
            # Not longer, because the next sign may shorten an announced wait.
            await trio.sleep_until(min(overdue_at, trio.current_time() + self._silence_s))
        self.expired = self._error()
        turn.cancel(reason=self.expired.message)

    def _overdue_at(self) -> float:
        last = trio.current_time() if self._held else max(self._last, self._busy_until)
        return min(last + self._silence_s, self._ends_at)

    def _error(self) -> TurnTimeout:
        ago = trio.current_time() - self._last
        last = f"the last was {self._what}, {ago:.1f} s ago" if self._what else "there was none since the turn began"
        if trio.current_time() >= self._ends_at:
            message = (
                f"The turn took longer than {self._total_s:g} s (--turn-timeout-ms). Signs of life from Claude Code: "
                f"{last}."
            )
            return TurnTimeout(message, code="turn_timeout", may_retry=False)
        message = f"Claude Code gave no sign of life for {self._silence_s:g} s (--process-timeout-ms); {last}."
        return TurnTimeout(message, may_retry=False)
