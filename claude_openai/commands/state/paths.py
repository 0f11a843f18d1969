"""`~/.claude-openai` and the names of its files. It is the only folder that is left after an uninstall."""

from pathlib import Path
from typing import Final

from claude_openai.errors import ConfigError

__all__ = ["ENVIRONMENT_FILE", "LOG_FILE", "STDERR_FILE", "home_folder"]

LOG_FILE: Final = "claude-openai.log"
# Standard error of a server in the background: a crash, a log that cannot be written. A few lines.
STDERR_FILE: Final = "claude-openai.err"
# Environment variables of a service, such as keys. The user writes this file.
ENVIRONMENT_FILE: Final = "environment"


def home_folder() -> Path:
    """Return `~/.claude-openai`, which may not exist yet.

    Raises:
        ConfigError: there is no home folder.
    """
    try:
        return Path.home() / ".claude-openai"
    except RuntimeError:
        raise ConfigError("there is no home folder", hint="set HOME, or --log-file") from None
