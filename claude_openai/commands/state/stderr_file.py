"""Keep the standard error of servers in the background: a crash, a log that cannot be written. A few lines.

All servers of this user write to one file. Until a server listens, its standard error goes to a temporary file, which
`start` prints if the start fails.
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
    """Redirect the standard error of this process to that file. If that fails, leave it as it is."""
    with suppress(OSError, ConfigError):
        fd = open_log_file(home_folder() / STDERR_FILE)
        try:
            if os.fstat(fd).st_size > MAX_STDERR_BYTES:
                os.ftruncate(fd, 0)
            os.dup2(fd, _STDERR)
        finally:
            os.close(fd)
