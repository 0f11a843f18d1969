"""The command line: flags in, exit code out. The only place that prints, and that knows signals.

Exit codes: 0 after a stop, 1 when the server cannot start, 2 for a bad flag or variable, 128 + N when a second signal N
ended it at once.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from claude_openai import __version__
from claude_openai.claude.hermetic import find_claude
from claude_openai.config import Config
from claude_openai.errors import ClaudeMissing, ConfigError, StartError

if TYPE_CHECKING:
    import trio

__all__ = ["main"]

EXIT_CANNOT_START = 1
EXIT_BAD_VALUE = 2


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit code.

    Args:
        argv: without the program's name; by default the process's own.
        environ: by default the process's own.
    """
    code = 0
    try:
        config = Config.from_sources(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
        _serve(config)
    except* ConfigError as group:
        code = _refuse(group, EXIT_BAD_VALUE)
    except* StartError as group:
        code = _refuse(group, EXIT_CANNOT_START)
    return code


def _serve(config: Config) -> None:
    # Imported after the flags were read, so that --help and a mistyped flag answer at once.
    import trio

    from claude_openai.server import serve

    async def run() -> None:
        stop = trio.Event()
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as signal_nursery:
                signal_nursery.start_soon(_obey, signals, stop)
                async with trio.open_nursery() as nursery:
                    _announce(await nursery.start(partial(serve, config, stop=stop)), config)
                signal_nursery.cancel_scope.cancel(reason="the server has ended")

    trio.run(run)


async def _obey(signals: AsyncIterator[int], stop: "trio.Event") -> None:
    """The first signal drains. The second ends at once: the guardian kills what the server leaves."""
    async for number in signals:
        if stop.is_set():
            os._exit(128 + number)
        print("claude-openai: stopping; a second signal stops at once", file=sys.stderr, flush=True)
        stop.set()


def _announce(urls: Sequence[str], config: Config) -> None:
    how = "demo: no Claude account is used, every answer is made up" if config.demo else f"{config.backend} backend"
    print(f"claude-openai {__version__} listening on {' and '.join(urls)} ({how})", file=sys.stderr, flush=True)
    try:
        find_claude(config.claude_command)
    except (ClaudeMissing, ConfigError) as error:
        print(f"claude-openai: warning: {error}", file=sys.stderr, flush=True)


def _refuse(group: BaseExceptionGroup[Exception], code: int) -> int:
    for error in _leaves(group):
        print(f"claude-openai: {error}", file=sys.stderr)
    return code


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
