"""Five ways in which a command puts a process out of reach of its starter, and how such processes are found.

Each way ends in a `sleep` for a number of seconds that nothing else on the machine sleeps for: neither group, session,
parent nor environment would show that it is ours.
"""

import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["WAYS", "alive", "new_number"]

_DAEMON: Final = (
    "import os\n"
    "for _ in range(2):\n"
    "  if os.fork(): os._exit(0)\n"
    "  os.setsid()\n"
    "os.closerange(0, 99)\n"
    'os.execve("/bin/sleep", ["[kworker]", "{0}"], {{}})'
)
WAYS: Final = {
    "nohup": "setsid nohup sleep {0} >/dev/null 2>&1 &",
    "no environment": "env -i setsid sleep {0} >/dev/null 2>&1 &",
    "double fork": "(setsid sh -c '(sleep {0} &)' >/dev/null 2>&1 &)",
    "daemon": f"env -i python3 -c '{_DAEMON}'",
    "foreground": "sleep {0}",
}


def new_number() -> str:
    """Seconds to sleep, as a mark."""
    return str(random.randrange(10**8, 10**9))  # noqa: S311 - no secret


def alive(number: str) -> list[int]:
    """The processes, zombies included, that sleep for so long."""
    return [pid for pid in _pids() if _command_line(pid)[1:] == [number.encode()]]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - half the time, and often


def _command_line(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    return []
