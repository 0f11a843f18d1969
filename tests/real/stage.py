"""The server of the moment, for tests whose steps are not written as one trio program, such as a state machine's rules.

The test is a trio program; the steps run in a thread of it and come in through `Stage.run`. The server lives in a task
of its own from `start` to `stop`, and may be started again. Every wait has its bound.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

from claude_openai.testing import Script
from tests.real.harness import LIMIT_S, Served, serving

__all__ = ["Stage"]

T = TypeVar("T")


class Stage:
    """Use `async with Stage.open() as stage` around `trio.to_thread.run_sync(steps, stage)`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._served: Served | None = None
        self._over = trio.Event()
        self._gone = trio.Event()
        self._failure: Exception | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls) -> "AsyncIterator[Stage]":
        async with trio.open_nursery() as nursery:
            stage = cls(nursery)
            try:
                yield stage
            finally:
                stage._over.set()

    @property
    def served(self) -> Served:
        assert self._served is not None
        return self._served

    def run(self, step: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run a step, from a thread; a server that fails meanwhile fails the step."""

        async def bounded() -> T:
            with trio.fail_after(LIMIT_S):
                return await step(*args)

        return trio.from_thread.run(bounded)

    async def start(self, folder: Path, script: Script, most_processes: int, **settings: Any) -> None:
        """Start a server in the folder; at its end it has had no more processes than these."""
        self._over, self._gone, self._failure = trio.Event(), trio.Event(), None
        self._served = await self._nursery.start(self._live, folder, script, most_processes, settings)

    async def stop(self) -> None:
        """Stop the server, if there is one; fails with what the harness, or the server itself, has found."""
        if self._served is None:
            return
        self._served = None
        self._over.set()
        await self._gone.wait()
        if self._failure is not None:
            raise self._failure

    async def _live(
        self,
        folder: Path,
        script: Script,
        most_processes: int,
        settings: dict[str, Any],
        task_status: trio.TaskStatus[Served],
    ) -> None:
        started = False
        try:
            async with serving(folder, script, **settings) as served:
                started = True
                task_status.started(served)
                await self._over.wait()
            assert served.most_processes() <= most_processes
            served.log_file.unlink()
        except Exception as error:
            if not started:
                raise
            self._failure = error
        finally:
            self._gone.set()
