"""Which folder of runs the last server wrote to, for commands that find no server to ask.

Remembered only if it is not the default one.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

from claude_openai.commands.instance.private_files import content, replace
from claude_openai.commands.state.paths import home_folder
from claude_openai.config.table import OUTPUT_DIR
from claude_openai.errors import ConfigError, StartError

__all__ = ["last_folder", "remember_folder"]

FILE: Final = "output-dir"


def remember_folder(folder: Path | None) -> None:
    """This is the folder of the server that runs now; None if it keeps nothing. A failure is no reason not to serve."""
    with suppress(OSError, ConfigError, StartError, RuntimeError):
        path = home_folder() / FILE
        if folder is None or folder == Path(OUTPUT_DIR).expanduser().absolute():
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(0o700, exist_ok=True)
            replace(path, str(folder))


def last_folder() -> Path | None:
    """The folder that is remembered."""
    with suppress(ConfigError, StartError):
        text = content(home_folder() / FILE)
        return Path(text) if text else None
    return None
