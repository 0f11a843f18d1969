"""`restart`: stop the server in the background and start it again, with its old flags or with new ones."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from claude_openai.commands import command_parser
from claude_openai.commands.instance import Instance, instance_folder
from claude_openai.commands.start import start
from claude_openai.commands.stop import started_instance, stop
from claude_openai.config import SETTINGS, Config, config_from
from claude_openai.errors import StartError

__all__ = ["run"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Replace the server in the background; if none runs, start one. Exit codes as of a start."""
    parser = command_parser("restart", "Without flags it gets those it had, and the folder it was started in.")
    config = config_from(argv, environ, parser)
    folder = instance_folder(environ)
    instance = started_instance(folder)
    if instance is None:
        return start(config, argv, environ)
    if not instance.background:
        raise StartError(
            f"the server (pid {instance.pid}) runs in the foreground: restart it where it was started, in its terminal "
            "or with systemctl or launchctl"
        )
    cwd = Path.cwd()
    if not argv:
        argv, cwd = instance.argv, Path(instance.cwd)
        config = _old_config(instance, environ)
    stop(instance, folder)
    return start(config, argv, environ, cwd)


def _old_config(instance: Instance, environ: Mapping[str, str]) -> Config:
    # Everything that can be found wrong is found before the old server is stopped.
    if not os.path.isdir(instance.cwd):  # noqa: PTH112 - a name that another process wrote
        raise StartError(f"the folder it was started in is gone: {instance.cwd!r}; give its flags again")
    if instance.has_api_key and not config_from((), _only_key(environ)).api_key:
        raise StartError(
            "the server asks for an API key, which is written nowhere: set CLAUDE_OPENAI_API_KEY, or give all its flags"
        )
    return config_from(instance.argv, environ)


def _only_key(environ: Mapping[str, str]) -> dict[str, str]:
    setting = next(setting for setting in SETTINGS if setting.name == "api_key")
    return {name: environ[name] for name in setting.variables if name in environ}
