"""A transcript that is written after the process that resumes from it was started.

Starting Claude Code takes most of the time of giving a history anew, and it opens the transcript last. So a process can
be started ahead, on a FIFO: it waits there for somebody to write. When a history comes, an ordinary file takes the
FIFO's name, for a process that has not come so far and for what it looks up in the file later, and the process that
waits is given the same text through the FIFO (measured on `claude-code` 2.1.332; a test shows it on the bundled one).

Knows files; what a transcript says is `session_file`'s business. Linux only: nobody has measured it elsewhere.
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
        folder: private; the files in it are made by `waiting` and removed at its end.

    Attributes:
        path: what the process is told to resume from.
    """

    def __init__(self, folder: Path) -> None:
        self._session = str(uuid.uuid4())
        self.path = folder / f"{self._session}.jsonl"
        self._fifo = folder / f"{self._session}.fifo"

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The process may be started within the block, and is gone at its end.

        Raises:
            OSError: the folder's file system has no FIFOs.
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
        """Give the process its past; once, for as long as its turn.

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
        """Whether the process waited for it."""
        try:
            fd = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:  # the process is gone, as whoever asks it will see
            return False
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody has opened it, and whoever will finds the file
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
            pass  # it died
        finally:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)
        return True
