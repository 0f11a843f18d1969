"""Runs the live view: one task follows the server, one reads keys, one draws, and one takes signals."""

import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import trio

from claude_openai.commands.instance.control_client import ControlError
from claude_openai.commands.instance.installed import RESTART_HINT
from claude_openai.commands.instance.record import Instance, UnsafeFileError, find_instance
from claude_openai.commands.top.connection import cancel_run, follow
from claude_openai.commands.top.model import CancelRun, Model, Quit
from claude_openai.commands.top.terminal import Terminal
from claude_openai.errors import StartError

__all__ = ["Driver"]

RETRY_S: Final = 0.5
# Times go on without events.
TICK_S: Final = 1.0
# The screen is drawn at most 20 times a second.
LEAST_PAUSE_S: Final = 0.05
ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
SIGNALS: Final = (*ENDING, signal.SIGWINCH, signal.SIGTSTP)
NOT_FOUND: Final = 404


class Driver:
    """Runs the live view.

    Args:
        folder: folder of the instance files.
        terminal: where to show it.
    """

    def __init__(self, folder: Path, terminal: Terminal) -> None:
        self._folder = folder
        self._terminal = terminal
        self._model = Model()
        self._changed = trio.Event()
        self._instance: Instance | None = None
        self._signal: signal.Signals | None = None

    async def run(self) -> signal.Signals | None:
        """Show the view until the user quits. Return the signal that ended it, None for a key.

        Raises:
            StartError: in a group; the server cannot be watched at all.
        """
        with trio.open_signal_receiver(*SIGNALS) as signals, self._terminal:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_signals, signals, nursery.cancel_scope)
                nursery.start_soon(self._follow)
                nursery.start_soon(self._take_keys, nursery)
                nursery.start_soon(self._draw)
        return self._signal

    def _show(self, model: Model) -> None:
        self._model = model
        self._changed.set()

    async def _draw(self) -> None:
        while True:
            self._changed = trio.Event()
            with _readable():
                self._terminal.draw(self._model, time.time())
            with trio.move_on_after(TICK_S):
                await self._changed.wait()
            await trio.sleep(LEAST_PAUSE_S)

    async def _take_signals(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number in ENDING:
                self._signal = signal.Signals(number)
                scope.cancel()
            elif number == signal.SIGTSTP:
                self._terminal.suspend()
            self._changed.set()

    async def _take_keys(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                keys = await self._terminal.keys()
            except (OSError, EOFError):  # the terminal is gone
                nursery.cancel_scope.cancel()
                return
            for key in keys:
                model, action = self._model.press(key, time.time())
                self._show(model)
                if isinstance(action, Quit):
                    nursery.cancel_scope.cancel()
                elif isinstance(action, CancelRun):
                    nursery.start_soon(self._cancel, action.run_id)

    async def _cancel(self, run_id: str) -> None:
        if self._instance is None:
            return
        self._show(self._model.noticed(f"cancelling {run_id}"))
        try:
            result = f"{run_id} {await cancel_run(self._instance, run_id)}"
        except ControlError as error:
            result = str(error)
        # The model of now: events have come while the server cancelled the run.
        self._show(self._model.noticed(result))

    async def _follow(self) -> None:
        """Follow the server; if it stops, wait for the next one."""
        while True:
            problem = "the server has stopped; waiting for it to start again"
            try:
                self._instance = find_instance(self._folder)
                if self._instance is not None:
                    self._model = replace(self._model, address=self._instance.base_url)
                    await follow(self._instance, self._take)
                    problem = "the server has ended the connection; connecting again"
            except UnsafeFileError as error:
                problem = str(error)
            except ControlError as error:
                if error.status == NOT_FOUND:
                    raise StartError("the server is too old to be watched", hint=RESTART_HINT) from None
                if not self._model.live.server:
                    raise  # nothing can be shown
                problem = f"{error}; connecting again"
            self._show(self._model.disconnected(problem, time.time()))
            await trio.sleep(RETRY_S)

    def _take(self, event: str, data: Mapping[str, Any]) -> None:
        with _readable():
            feed = self._model.live.merge(event, data)
        self._show(self._model.connected(feed))


@contextmanager
def _readable() -> Iterator[None]:
    """Raise StartError if what the server has sent has another shape."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise StartError("cannot read what the server sends: it is of another version", hint=RESTART_HINT) from error
