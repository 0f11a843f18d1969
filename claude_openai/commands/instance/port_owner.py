"""Find the program that listens on a port, and whether it is a server of this user. Known on Linux only, from /proc.

Other users' processes show their sockets to root only. A server's pid file, which it holds open, shows its TMPDIR.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claude_openai.commands.instance.record import Instance, find_instance, pid_file
from claude_openai.errors import StartError

__all__ = ["PortOwner", "port_owner"]

_LISTENS: Final = "0A"
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process that listens on a port.

    Attributes:
        name: "claude-openai", or the name of its program.
        folder: TMPDIR of a server of this user that the commands find there; None for any other program.
    """

    pid: int
    name: str
    folder: Path | None = None

    def __str__(self) -> str:
        where = "" if self.folder is None else f", of your user, TMPDIR={self.folder}"
        return f"{self.name} (pid {self.pid}{where})"

    @property
    def hint(self) -> str:
        """How to get the port."""
        if self.folder is None:
            return "stop it, or choose another --port (0: any free port)"
        stop = f"stop it with `TMPDIR={self.folder} claude-openai stop`"
        return f"use that server, {stop}, or choose another --port (0: any free port)"


def port_owner(port: int) -> PortOwner | None:
    """Return the process that listens on a TCP port, on any address; None if it is unknown."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    with suppress(OSError):
        for process in _PROC.iterdir():
            if process.name.isdigit():
                files = list(_open_files(process))
                if not sockets.isdisjoint(map(str, files)):
                    pid = int(process.name)
                    return PortOwner(pid, _name(process), _folder(pid, port, files))
    return None


def _inodes(port: int) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    yield words[9]


def _open_files(process: Path) -> Iterator[Path]:
    with suppress(OSError):
        for entry in (process / "fd").iterdir():
            with suppress(OSError):
                yield entry.readlink()


def _name(process: Path) -> str:
    with suppress(OSError):
        words = [Path(word).name for word in (process / "cmdline").read_text(errors="replace").split("\0")[:4]]
        if {"claude-openai", "claude_openai"} & {*words}:
            return "claude-openai"
        return repr((process / "comm").read_text(errors="replace").strip())
    return "a program"


def _folder(pid: int, port: int, files: list[Path]) -> Path | None:
    for folder in {path.parent for path in files if path == pid_file(path.parent)}:
        with suppress(StartError):
            found: Instance | None = find_instance(folder)
            if found is not None and (found.pid, found.port) == (pid, port):
                return folder
    return None
