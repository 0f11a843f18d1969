"""`restart`: stop the server in the background and start it again, with its old flags or with new ones.

After a `stop` or a crash the old flags are those of the last server in the background (`last_start`).
The new settings are checked first, so that the old server keeps serving if they are wrong.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from claude_openai.commands import command_parser, has_flag, say
from claude_openai.commands.doctor.checks_server import port_check
from claude_openai.commands.instance.record import Instance, instance_folder
from claude_openai.commands.start import log_file_of, start
from claude_openai.commands.state.last_start import last_start
from claude_openai.commands.stop import started_instance, stop
from claude_openai.config import SETTINGS, Config, config_from
from claude_openai.config.setting import HELP_ALL, Parser, with_flags
from claude_openai.errors import StartError

__all__ = ["parser", "run"]


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser(
        "restart",
        "Stop the server in the background and start it again. Without flags it keeps its flags, the settings from its "
        "environment variables, and its folder, also if it has been stopped before.",
    )


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Replace the server in the background; if none is running, start the last one. Exit codes are those of a start."""
    with_flags(parser(), SETTINGS, every=HELP_ALL in argv).parse_args(list(argv))
    folder = instance_folder(environ)
    instance = started_instance(folder)
    if instance is not None and not instance.background:
        raise StartError(
            f"the server (pid {instance.pid}) runs in the foreground",
            hint="restart it where it was started: in its terminal, or with systemctl or launchctl",
        )
    old = instance or last_start(folder)
    if old is not None and not argv:
        argv = old.argv
        # TMPDIR may be relative to the folder that is left below.
        environ = {**_old_variables(old, environ), **environ, "TMPDIR": str(folder)}
        _enter_old_folder(old)
        _check_key_is_set(old, environ)
        if instance is None:
            flags = shlex.join(argv) or "no flags"
            say(f"claude-openai: none is running; starting the last one, in {old.cwd}: {flags}")
    config = config_from(argv, environ)
    if instance is not None:
        _check_can_start(config, instance)
        stop(instance, folder)
    return start(config, argv, environ)


def _old_variables(instance: Instance, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the old server, without the settings that variables set now, under any of their names."""
    set_now = {setting.field for setting in SETTINGS if setting.find(None, environ)[0] is not None}
    names = {name for setting in SETTINGS if setting.field not in set_now for name in setting.variables}
    return {name: value for name, value in instance.variables.items() if name in names}


def _enter_old_folder(instance: Instance) -> None:
    # Paths in its flags are relative to that folder.
    try:
        os.chdir(instance.cwd)
    except OSError as error:
        raise StartError(
            f"cannot enter the folder in which the server was started: {instance.cwd!r}: {error.strerror}",
            hint="call restart with all flags of the server, to start it in this folder",
        ) from None


def _check_key_is_set(instance: Instance, environ: Mapping[str, str]) -> None:
    variables = [name for setting in SETTINGS if setting.field == "api_key" for name in setting.variables]
    is_set = has_flag(instance.argv, "--api-key-file") or any(environ.get(name) for name in variables)
    if instance.has_api_key and not is_set:
        raise StartError(
            "the server requires an API key, which is not stored on disk",
            hint="set CLAUDE_OPENAI_API_KEY or CLAUDE_OPENAI_API_KEY_FILE, or call restart with all flags",
        )


def _check_can_start(config: Config, instance: Instance) -> None:
    """Check that a new server can start.

    Raises:
        ConfigError, StartError: it cannot, for the reason in the message.
    """
    from claude_openai.claude.process.program import find_claude
    from claude_openai.logs.writer import open_log_file

    if config.claude_command is not None:
        find_claude(config.claude_command)
    log_file = log_file_of(config, Path.cwd())
    if log_file is not None:
        os.close(open_log_file(log_file))
    port = port_check(config, instance)
    if port.state == "FAIL":
        raise StartError(f"port {port.found}", hint=f"{port.mend}; the old server was not stopped")
