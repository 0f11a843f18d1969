"""The process that ends Claude Code's process groups when this server is killed.

A server that gets SIGKILL cannot clean up, and a `claude` in the middle of a turn goes on for minutes after its
standard input has ended. So one small shell outlives the server: it reads the process groups in use from a pipe, and
when the pipe ends, because the server is gone in whatever way, it kills those that are left, sweeps up after them and
removes the private folder. It sits in a session of its own, so what kills the server's process group misses it.
(Linux's parent-death signal is no cure: it follows the *thread* that spawned, and it spares the children's children.)

Knows process groups and one folder; what is swept up is known to `leftovers`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from claude_openai.claude import leftovers
from claude_openai.logs.log import Log

__all__ = ["Guardian", "guarding"]

# "+ N" and "- N" add and drop a group. Of the ways to name a whole group, `kill -s KILL -- -N` is the one that every
# shell takes: dash refuses `kill -KILL -- -N`.
SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r sign group; do
  case $sign in
    +) groups="$groups $group" ;;
    -) rest=; for g in $groups; do [ "$g" = "$group" ] || rest="$rest $g"; done; groups=$rest ;;
  esac
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
for entry in "$1"/ledger/*.json; do
  [ -e "$entry" ] && { "$2" -I -S -c "$3" "$1"; break; }
done
rm -rf -- "$1"
"""
# Read when the server starts, since another version may be installed when it is needed.
SWEEP = Path(leftovers.__file__).read_text("utf-8")

# The shell has at most some files to remove; it never takes this long.
END_TIMEOUT_S = 5.0


class Guardian:
    """Knows the process groups in use and tells the shell. All calls are synchronous: no cancel can split them."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder = folder
        self._log = log
        self._groups: set[int] = set()
        self._start()

    def watch(self, group: int) -> None:
        """From now on the group dies with the server. Call right after the spawn, before any await: a process that was
        never written to ends by itself when its input does."""
        self._groups.add(group)
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """The group is gone."""
        self._groups.discard(group)
        self._tell(f"- {group}\n")

    def close(self) -> None:
        """End the shell; what it still watches dies. Blocks for the few ms that takes."""
        os.close(self._pipe)
        with suppress(subprocess.TimeoutExpired):
            self._shell.wait(END_TIMEOUT_S)

    def _start(self) -> None:
        read, self._pipe = os.pipe()
        try:
            self._shell = subprocess.Popen(  # noqa: S603 - a constant script; the folder is an argument
                ["/bin/sh", "-c", SCRIPT, "claude-openai-guardian", str(self._folder), sys.executable, SWEEP],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.defpath},
                start_new_session=True,
            )
        finally:
            os.close(read)

    def _tell(self, line: str) -> None:
        try:
            os.write(self._pipe, line.encode())
        except BrokenPipeError:
            # Somebody killed the shell. A new one learns all groups; the one just dropped is not among them.
            self._log.warning("guardian.restarted", groups=len(self._groups))
            os.close(self._pipe)
            self._shell.wait()
            self._start()
            for group in self._groups:
                os.write(self._pipe, f"+ {group}\n".encode())


@contextmanager
def guarding(folder: Path, log: Log) -> Iterator[Guardian]:
    """Run a guardian for as long as the block.

    Args:
        folder: removed when the block, or the server, ends.
        log: told when the shell had to be started again.
    """
    guardian = Guardian(folder, log)
    try:
        yield guardian
    finally:
        guardian.close()
