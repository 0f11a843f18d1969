"""What the last server in the background was started with, so that `restart` after `stop` starts it in the same way.

One small file for each TMPDIR, in the home folder: the commands leave nothing in TMPDIR. Keys are not stored.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from claude_openai.commands.instance import private_files
from claude_openai.commands.instance.record import Instance, parse_instance
from claude_openai.commands.state.paths import home_folder
from claude_openai.errors import ConfigError, StartError
from claude_openai.file_access import make_private_folder

__all__ = ["last_start", "remember_start"]

FOLDER: Final = "started"
# Tools like nix-shell make a new TMPDIR each time.
KEPT_FILES: Final = 16


def remember_start(instance: Instance, tmpdir: Path) -> None:
    """Store what a server was started with, without its control key. Ignore failures: the server runs anyway.

    Args:
        instance: the server.
        tmpdir: folder of its instance files.
    """
    with suppress(OSError, ConfigError, StartError, ValueError):
        path = _path(tmpdir)
        make_private_folder(path.parent)
        private_files.replace(path, json.dumps(asdict(replace(instance, control_key=""))))
        newest_first = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in newest_first[KEPT_FILES:]:
            old.unlink()


def last_start(tmpdir: Path) -> Instance | None:
    """Return the last server in the background that had its files in this folder, None if it is unknown."""
    with suppress(ConfigError, StartError):
        return parse_instance(private_files.content(_path(tmpdir)))
    return None


def _path(tmpdir: Path) -> Path:
    name = hashlib.sha256(os.fsencode(tmpdir)).hexdigest()[:16]
    return home_folder() / FOLDER / f"{name}.json"
