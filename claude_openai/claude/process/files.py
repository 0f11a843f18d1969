"""The files of one process: its temporary folder, and what it leaves in the user's folders.

This module sets the variables that name these files, and removes the files. `leftovers` lists what a process leaves.
"""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from claude_openai.claude.leftovers.ledger import Ledger
from claude_openai.claude.leftovers.sweep import Leftovers, sweep
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.logs.log import Log
from claude_openai.threads import NoThreadError, run_in_thread

__all__ = ["ProcessFiles"]

# Files that are left after this are removed when the server stops: they are in the private folder or the ledger.
FILES_REMOVE_WAIT_S: Final = 5.0


class ProcessFiles:
    """The files of one process, made by `open`.

    Args:
        temporary: the process's temporary folder.
        session: its session id.
        env: its environment, without the variables that name its files.
        has_own_tools: whether it runs commands for Claude.
        ledger: the server's ledger.
        log: records what could not be removed.

    Attributes:
        temporary: see above.
        env: its complete environment.
    """

    def __init__(
        self, temporary: Path, session: str, env: Mapping[str, str], *, has_own_tools: bool, ledger: Ledger, log: Log
    ) -> None:
        self.temporary = temporary
        self._session = session
        self._ledger = ledger
        self._log = log
        self._spawned = time.time()
        self._process: SupervisedProcess | None = None
        self._left: Leftovers | None = None
        self.env = {**env, "TMPDIR": str(temporary), "CLAUDE_CODE_TMPDIR": str(temporary)}
        self._mark = ""
        if has_own_tools:
            # A folder that does not exist, at the end of PATH. It marks the shell snapshots of this process.
            self._mark = str(temporary / "bin")
            self.env["PATH"] = f"{env.get('PATH', os.defpath)}{os.pathsep}{self._mark}"
        else:
            # Claude Code writes logs of tool calls into the user's cache folder. Commands need the real folder.
            self.env["XDG_CACHE_HOME"] = str(temporary)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, private: Path, session: str, env: Mapping[str, str], *, has_own_tools: bool, ledger: Ledger, log: Log
    ) -> "AsyncIterator[ProcessFiles]":
        """Make the files of a process that lives within the block; remove them at the end.

        Raises:
            OSError: the private folder cannot be written to.
        """
        temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=private))
        files = cls(temporary, session, env, has_own_tools=has_own_tools, ledger=ledger, log=log)
        try:
            yield files
        finally:
            # In a thread: there may be thousands of files, while other turns stream.
            failures = [f"{temporary}: not removed within {FILES_REMOVE_WAIT_S:g} s"]
            with trio.move_on_after(FILES_REMOVE_WAIT_S, shield=True):
                try:
                    failures = await run_in_thread(files._remove, abandon_on_cancel=True)
                except NoThreadError:
                    failures = files._remove()
            for failure in failures:
                log.warning("process.files_left", reason=failure)

    def started(self, process: SupervisedProcess, cwd: Path) -> None:
        """Record the started process in the ledger, for the case that the server is killed."""
        self._process = process
        self._write_down(Leftovers.of(process.pid, self._spawned, self._session, self.env, cwd, self._mark))

    def made(self, name: str) -> None:
        """Record a file or folder that the process made in Claude Code's folder, see `OF_ITS_OWN_CHOICE`."""
        if self._left is not None and name not in self._left.made:
            self._write_down(replace(self._left, made=(*self._left.made, name)))

    def _write_down(self, left: Leftovers) -> None:
        self._left = left
        try:
            self._ledger.put(left)
        except OSError as error:
            self._log.warning("process.files_left", reason=f"cannot write the ledger entry: {error.strerror or error}")

    def _remove(self) -> list[str]:
        """Remove the files; return what could not be removed, and why. Blocks."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        if self._left is None or self._process is None or self._process.running:
            return []
        failures = sweep(self._left, ended=time.time())
        if not failures:
            self._ledger.remove(self._left)
        return failures
