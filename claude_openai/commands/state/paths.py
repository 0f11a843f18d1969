"""Where a server in the background keeps what outlives it. The only folder that is left after an uninstall."""

from pathlib import Path
from typing import Final

from claude_openai.errors import ConfigError

__all__ = ["ENVIRONMENT_FILE", "LOG_FILE", "STDERR_FILE", "home_folder"]

LOG_FILE: Final = "claude-openai.log"
# What it says besides its log: a crash, a log that cannot be written. A few lines.
STDERR_FILE: Final = "claude-openai.err"
# Variables for a service, such as keys; the user writes it.
ENVIRONMENT_FILE: Final = "environment"


def home_folder() -> Path:
    """`~/.claude-openai`; nobody made it yet, perhaps.

    Raises:
        ConfigError: there is no home.
    """
    try:
        return Path.home() / ".claude-openai"
    except RuntimeError:
        raise ConfigError("there is no home folder for the log", hint="set HOME, or --log-file") from None
