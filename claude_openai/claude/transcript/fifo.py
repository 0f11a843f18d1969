"""A transcript that is written after the start of the process that resumes from it.

Most of the time of a replay is the start of Claude Code, which opens the transcript last. So a process can be started
ahead of need with a FIFO as its transcript: it blocks until the FIFO is written. When a history comes, a regular file
replaces the FIFO at its path, for a process that has not opened it yet and for later reads; a process that waits gets
the same text through the FIFO (measured on `claude-code` 2.1.332; a test shows it on the bundled one).

`session_file` makes the content. Linux only, because it was not measured elsewhere.
"""

import errno
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

from claude_openai.claude.transcript.session_file import Past, transcript_lines, write_private
from claude_openai.threads import run_in_thread

__all__ = ["LATE_TRANSCRIPTS", "LateTranscript"]

LATE_TRANSCRIPTS: Final = sys.platform == "linux"


class LateTranscript:
    """The transcript of one process.

    Args:
        folder: private; `waiting` makes the files in it and removes them at its end.

    Attributes:
        path: the transcript path for the command line of the process.
    """

    def __init__(self, folder: Path) -> None:
        self._session = str(uuid.uuid4())
        self.path = folder / f"{self._session}.jsonl"
        self._fifo = folder / f"{self._session}.fifo"

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Make the FIFO. The process must start and end within the block.

        Raises:
            OSError: the folder's file system does not support FIFOs.
        """
        try:
            os.mkfifo(self._fifo, 0o600)
            os.link(self._fifo, self.path)
            yield
        finally:
            self._fifo.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    @asynccontextmanager
    async def given(self, past: Past, cwd: Path) -> AsyncIterator[None]:
        """Write the past for the process. Call once; the file exists for the length of the block, which is the turn.

        Raises:
            OSError: the file cannot be written.
        """
        file = self.path.with_suffix(".new")

        def write() -> bytes:
            lines = list(transcript_lines(self._session, past, cwd))
            write_private(file, lines)
            return "".join(lines).encode("ascii")

        try:
            text = await run_in_thread(write)
            file.rename(self.path)
            await self._write(text)
            yield
        finally:
            file.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    async def _write(self, text: bytes) -> bool:
        """Write to the FIFO; return whether the process was waiting for it."""
        try:
            fd = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:  # the process is gone, which its next use reports
            return False
        except OSError as error:
            if error.errno == errno.ENXIO:  # not opened yet; the process will open the regular file
                return False
            raise
        try:
            rest = memoryview(text)
            while rest:
                try:
                    rest = rest[os.write(fd, rest) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(fd)
        except BrokenPipeError:
            pass  # the process died
        finally:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)
        return True
