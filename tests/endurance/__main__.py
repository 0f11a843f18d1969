"""A turn that is long because Claude works: a delta a second for twenty minutes, on the default settings.

    python -m tests.endurance
    python -m tests.endurance --minutes 3 --backend cli

The bundled CLI and the SDK in the middle, a stand-in for Claude behind them, all on loopback. It fails if a delta is
missing, if Claude's API was called more than once, or if it takes a minute longer than it should. Not part of the test
suite, which has the same under a clock that jumps (`tests/memory/runs/test_time_limits.py`).
"""

import argparse
import tempfile
from pathlib import Path

import trio

from claude_openai import Config, serve
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.config import BACKENDS
from claude_openai.testing import MessagesApi, Pause, Piece, Reply, Text
from tests.http_client import texts
from tests.real.call import Call, chat

# Beyond the deltas themselves, for the start of everything on a busy machine.
MORE_S = 60


async def stream(backend: str, deltas: int) -> None:
    """Ask for a long answer.

    Raises:
        AssertionError, TooSlowError: it is not whole, or late.
    """
    words = [f"{number} " for number in range(deltas)]
    pieces: list[Piece] = [piece for word in words for piece in (Pause(1), word)]
    with tempfile.TemporaryDirectory() as folder, trio.fail_after(deltas + MORE_S):
        async with MessagesApi.serving(Reply(Text(*pieces))) as api, trio.open_nursery() as nursery:
            env = {**stand_in_environment(api.base_url, Path(folder) / "config"), "HOME": folder}
            config = Config(port=0, backend=backend, log=False, extra_env=env)
            (url,) = await nursery.start(serve, config)
            async with Call.open(url, chat("Count.", stream=True)) as call:
                assert await call.status() == 200
                events = await call.events()
            assert texts(events) == words, events[-2:]
            assert events[-1] == "[DONE]"
            assert len(api.requests) == 1
            nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description="One long turn.")
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--backend", choices=BACKENDS, default="sdk")
    arguments = parser.parse_args()
    took_s = trio.run(_timed, arguments.backend, arguments.minutes * 60)
    print(f"{arguments.backend}: {arguments.minutes * 60} deltas in {took_s:.0f} s, one call of Claude's API")


async def _timed(backend: str, deltas: int) -> float:
    began = trio.current_time()
    await stream(backend, deltas)
    return trio.current_time() - began


if __name__ == "__main__":
    main()
