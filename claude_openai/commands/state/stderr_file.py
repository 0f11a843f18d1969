"""What a server in the background says besides its log, kept: a crash, a log that cannot be written. A few lines.

All servers of this user write to one file; whoever starts one reads its words elsewhere until it listens.
"""

import os
from contextlib import suppress
from typing import Final

from claude_openai.commands.state.paths import STDERR_FILE, home_folder
from claude_openai.errors import ConfigError
from claude_openai.logs.writer import open_log_file

__all__ = ["keep_words"]

MAX_STDERR_BYTES: Final = 64 * 1024
_STDERR: Final = 2


def keep_words() -> None:
    """From now on this process says what it says into that file; if that cannot be, where it did before."""
    with suppress(OSError, ConfigError):
        fd = open_log_file(home_folder() / STDERR_FILE)
        try:
            if os.fstat(fd).st_size > MAX_STDERR_BYTES:
                os.ftruncate(fd, 0)
            os.dup2(fd, _STDERR)
        finally:
            os.close(fd)
