"""The output folder of the last server, for commands that find no running server.

It is stored only if it is not the default.
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
    """Store the output folder of this server, None if it captures no runs. Ignore failures: the server runs anyway."""
    with suppress(OSError, ConfigError, StartError, RuntimeError):
        path = home_folder() / FILE
        if folder is None or folder == Path(OUTPUT_DIR).expanduser().absolute():
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(0o700, exist_ok=True)
            replace(path, str(folder))


def last_folder() -> Path | None:
    """Return the stored folder, None if there is none."""
    with suppress(ConfigError, StartError):
        text = content(home_folder() / FILE)
        return Path(text) if text else None
    return None
