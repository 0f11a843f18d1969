"""Keeps a mock clock from jumping while something outside of trio's tasks is at work.

A `MockClock` with autojump jumps as soon as every task waits. trio does not count threads as tasks, so it also jumps
while a thread resolves a name, or looks up the platform for the openai package, and the program's time limits pass at
once. `hold_clock` lets the clock jump only when no thread is at work.

It uses public parts of trio only: after each wait for I/O an instrument looks whether a thread is at work. If so, it
wakes a task, so that trio does not find all tasks waiting; and while a task is in `wait_all_tasks_blocked`, trio does
not jump either.
"""

import time
from collections.abc import Callable
from typing import Final

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

__all__ = ["hold_clock"]

# Real time between two looks at a thread that is at work.
LOOK_S: Final = 0.0005
# A thread that works longer than this (in real time) does not hold the clock: it may wait for the clock itself.
LONGEST_S: Final = 5.0


async def hold_clock(busy: Callable[[], bool]) -> None:
    """Hold the clock of this run while threads of trio's default limiter work, until cancelled.

    Args:
        busy: returns whether something else is at work.
    """
    if not isinstance(trio.lowlevel.current_clock(), MockClock):
        await trio.sleep_forever()
    guard = _Guard(busy)
    trio.lowlevel.add_instrument(guard)
    try:
        await guard.run()
    finally:
        trio.lowlevel.remove_instrument(guard)


class _Guard(trio.abc.Instrument):
    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy_elsewhere = busy
        self._threads = trio.to_thread.current_default_thread_limiter()
        self._parked: trio.lowlevel.Task | None = None
        self._ignored = False

    def after_io_wait(self, timeout: float) -> None:
        if not self._busy():
            self._ignored = False
        elif self._parked is not None and not self._ignored:
            task, self._parked = self._parked, None
            trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        while True:
            await self._park()
            until = time.monotonic() + LONGEST_S
            while self._busy() and time.monotonic() < until:
                await wait_all_tasks_blocked(LOOK_S)
            self._ignored = self._busy()

    def _busy(self) -> bool:
        return self._threads.borrowed_tokens > 0 or self._busy_elsewhere()

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()

        def abort(_raise: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
