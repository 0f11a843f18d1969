"""`stop`: end the server that runs, with time for its running turns, and see that nothing of it is left."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

from claude_openai.commands import command_parser, not_running, say
from claude_openai.commands.instance.lock import remove_left_behind
from claude_openai.commands.instance.processes import BEYOND_DRAIN_S, Held, descendants, has_open, wait_gone
from claude_openai.commands.instance.record import (
    Instance,
    find_instance,
    instance_folder,
    is_claimed,
    pid_file,
)
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["parser", "run", "started_instance", "stop"]

KILLED_S: Final = 5.0
CLEANED_UP_S: Final = 10.0
STARTED_S: Final = 10.0
INSTANCE_POLL_S: Final = 0.02
# A stop that takes longer than this says what it waits for.
QUICK_S: Final = 3.0


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser("stop", "Stop the server after its running turns, which get the time of --drain-timeout-ms.")


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Stop the server. 0 if none is running any more."""
    parser().parse_args(list(argv))
    folder = instance_folder(environ)
    instance = started_instance(folder)
    if instance is None:
        remove_left_behind(folder)
        print(not_running(folder))
        return 0
    stop(instance, folder)
    print(f"claude-openai (pid {instance.pid}) has stopped")
    return 0


def started_instance(folder: Path) -> Instance | None:
    """The server that runs; one that only starts is waited for.

    Raises:
        StartError: it does not say who it is within 10 s.
    """
    deadline = time.monotonic() + STARTED_S
    while True:
        instance = find_instance(folder)
        if instance is not None or not is_claimed(folder):
            return instance
        if time.monotonic() > deadline:
            raise StartError(
                f"a server is starting or stopping and has not published its address within {STARTED_S:g} s"
            )
        time.sleep(INSTANCE_POLL_S)


def stop(instance: Instance, folder: Path) -> None:
    """End a server: the signal that lets its turns end, and after its drain timeout and 20 s the one that does not.

    Raises:
        StartError: it is not ours to stop, or something of it is left.
    """
    try:
        with closing(Held(instance.pid)) as held:
            # Only now the number cannot be given to another process, and is asked about again.
            if find_instance(folder) == instance:
                if not has_open(instance.pid, pid_file(folder)):
                    raise StartError(
                        f"pid {instance.pid} does not hold {str(pid_file(folder))!r}: the server runs in another "
                        "container",
                        hint="stop it there",
                    )
                _end(held, instance)
    except ProcessLookupError:
        pass  # it has ended
    except PermissionError:
        raise StartError(f"the server (pid {instance.pid}) belongs to another user") from None
    remove_left_behind(folder)


def _end(held: Held, instance: Instance) -> None:
    held.send(SIGTERM)
    if held.wait(QUICK_S):
        return
    drain_s = instance.drain_timeout_ms / 1000
    say(f"claude-openai: waiting for running turns to end, {drain_s:g} s at most")
    if held.wait(drain_s + BEYOND_DRAIN_S - QUICK_S):
        return
    say(f"claude-openai: pid {instance.pid} does not stop; killing it")
    started = descendants(instance.pid)
    held.send(SIGKILL)
    if not held.wait(KILLED_S):
        raise StartError(f"pid {instance.pid} cannot be killed")
    # Its guardian is one of them: it kills the others, removes their folder, and ends.
    if not wait_gone(started, CLEANED_UP_S):
        raise StartError(f"the server was killed, but some of its processes are left: {sorted(started)}")
