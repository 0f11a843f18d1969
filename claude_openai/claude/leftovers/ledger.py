"""Records the processes whose files are not removed yet, so that another process can remove them.

There is a file for each process, in a folder of the server's private folder; see `leftovers`. A later server finds it
in a folder that others can write to, and uses it only if it belongs to this user alone.
"""

import json
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from claude_openai.claude.leftovers.sweep import (
    ENTRY,
    LEDGER,
    Leftovers,
    beginning_with,
    is_alive,
    processes_of,
    start_time,
    sweep_ledger,
)

__all__ = ["PRIVATE_FOLDER", "Ledger", "recover"]

# The prefix of a server's private folder; a random part follows.
PRIVATE_FOLDER: Final = "claude-openai-"
_SERVER: Final = "server"


class Ledger:
    """The ledger of a server.

    Args:
        private: the server's private folder.

    Raises:
        OSError: the folder is not writable.
    """

    def __init__(self, private: Path) -> None:
        self._folder = private / LEDGER
        self._folder.mkdir(mode=0o700)
        server = {"pid": os.getpid(), "started": start_time(os.getpid()) or ""}
        (self._folder / _SERVER).write_text(json.dumps(server))

    def put(self, left: Leftovers) -> None:
        """Write or update the entry of a process.

        Raises:
            OSError: the entry cannot be written.
        """
        entry = self._entry(left)
        new = entry.with_suffix(".new")
        new.write_text(json.dumps(asdict(left)))
        new.replace(entry)

    def remove(self, left: Leftovers) -> None:
        with suppress(OSError):
            self._entry(left).unlink()

    def _entry(self, left: Leftovers) -> Path:
        return self._folder / f"{left.session}{ENTRY}"


def recover(parent: Path) -> list[str]:
    """Remove the files and private folders of servers that were killed together with their guardians.

    Args:
        parent: the folder of the private folders. Others may write to it, so files of other users are ignored.

    Returns:
        What could not be removed, with the reasons.
    """
    failures = []
    for folder in beginning_with(PRIVATE_FOLDER, parent):
        if _is_private(folder) and not _is_in_use(folder):
            failures += sweep_ledger(folder, just_killed=False)
            shutil.rmtree(folder, ignore_errors=True)
    return failures


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _is_in_use(folder: Path) -> bool:
    """Whether a server uses the folder. True in doubt: it may be of another version, or have just been made."""
    try:
        server = json.loads((folder / LEDGER / _SERVER).read_bytes())
        if is_alive(int(server["pid"]), str(server["started"])):
            return True
    except (OSError, ValueError, TypeError, KeyError):
        return True
    return any(is_alive(left.pid, left.started) for left in processes_of(folder))
