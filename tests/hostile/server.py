"""The server that is attacked, in a process of its own: `python -m tests.hostile.server`.

It prints its base URL when it listens, and runs until its standard input ends. Then it prints the longest step that a
task took on its event loop, in ms of this thread's own time, which other processes do not lengthen. No Claude Code:
each turn says "ok".
"""

import sys
import time
from functools import partial

import trio

from claude_openai import Config, serve
from claude_openai.commands.serve import tune_interpreter
from tests.scripted_backend import ScriptedBackend


class LongestStep(trio.abc.Instrument):
    """Measures the steps of all tasks."""

    def __init__(self) -> None:
        self._began = 0.0
        self.longest_s = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest_s = max(self.longest_s, time.thread_time() - self._began)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        config = Config(port=0, log=False)
        print((await nursery.start(partial(serve, config, backend=ScriptedBackend())))[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel(reason="its starter is gone")


if __name__ == "__main__":
    tune_interpreter()
    step = LongestStep()
    trio.run(main, instruments=[step])
    print(f"{step.longest_s * 1000:.1f}", flush=True)
