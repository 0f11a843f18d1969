"""`stop`: stop the running server after its running turns, and check that none of its processes is left."""

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
QUICK_S: Final = 3.0


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser(
        "stop", "Stop the server. Its running turns may end first, within --lame-duck-ms and --drain-timeout-ms."
    )


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Stop the server. Return 0 if none is running afterwards."""
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
    """Return the running server, None if there is none. Wait for a server that is starting.

    Raises:
        StartError: it does not publish its address within 10 s.
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


def stop(instance: Instance, folder: Path, *, quick_s: float = QUICK_S, beyond_drain_s: float = BEYOND_DRAIN_S) -> None:
    """Stop a server with SIGTERM, which lets its turns end, and with SIGKILL if it takes too long.

    Args:
        instance: the server.
        folder: folder of the instance files.
        quick_s: a stop that takes longer prints what it waits for, in seconds.
        beyond_drain_s: how long the server may take after its drain, in seconds.

    Raises:
        StartError: it runs in another container or as another user, or some of its processes are left.
    """
    try:
        with closing(Held(instance.pid)) as held:
            # The pid was not protected from reuse until now: check again that it is the server's.
            if find_instance(folder) == instance:
                if not has_open(instance.pid, pid_file(folder)):
                    raise StartError(
                        f"pid {instance.pid} does not hold {str(pid_file(folder))!r}: the server runs in another "
                        "container",
                        hint="stop it there",
                    )
                _end(held, instance, quick_s, beyond_drain_s)
    except ProcessLookupError:
        pass  # it has ended
    except PermissionError:
        raise StartError(f"the server (pid {instance.pid}) belongs to another user") from None
    remove_left_behind(folder)


def _end(held: Held, instance: Instance, quick_s: float, beyond_drain_s: float) -> None:
    held.send(SIGTERM)
    if held.wait(quick_s):
        return
    drain_s = (instance.lame_duck_ms + instance.drain_timeout_ms) / 1000
    say(f"claude-openai: waiting for running turns to end, {drain_s:g} s at most")
    if held.wait(drain_s + beyond_drain_s - quick_s):
        return
    say(f"claude-openai: pid {instance.pid} does not stop; killing it")
    started = descendants(instance.pid)
    held.send(SIGKILL)
    if not held.wait(KILLED_S):
        raise StartError(f"pid {instance.pid} cannot be killed")
    # Its guardian is among them: it kills the others, removes their folder, and exits.
    if not wait_gone(started, CLEANED_UP_S):
        raise StartError(f"the server was killed, but some of its processes are left: {sorted(started)}")
