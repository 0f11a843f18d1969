"""`claude-openai version`: the versions of this program and of the Claude Code that it runs."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from claude_openai._version import __version__
from claude_openai.bounded_run import run_bounded
from claude_openai.commands.table import command_parser
from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser
from claude_openai.errors import ClaudeMissing, ConfigError

__all__ = ["parser", "print_versions", "run"]

# `claude --version` takes some 12 ms, 150 ms in older versions.
TIMEOUT_S: Final = 2.0
COMMAND: Final = next(setting for setting in SETTINGS if setting.name == "claude_command")


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("version", "Print the version of claude-openai, and that of Claude Code with its path.")
    parser.add_argument(COMMAND.flag, metavar=COMMAND.metavar, help=COMMAND.help)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the versions. The exit code is 0 even if Claude Code was not found."""
    print_versions(parser().parse_args(list(argv)).claude_command, environ)
    return 0


def print_versions(command: str | None, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
    """Print a line for this program, and one for Claude Code.

    Args:
        command: name or path of Claude Code; None for the program that the server would run.
        environ: environment variables.
        timeout_s: time limit of Claude Code in seconds.
    """
    print(f"claude-openai {__version__}", flush=True)
    command, _ = COMMAND.find(command, environ)
    print(f"Claude Code {_claude_version(command, environ, timeout_s)}")


def _claude_version(command: str | None, environ: Mapping[str, str], timeout_s: float) -> str:
    from claude_openai.claude.process.command_line import claude_environment
    from claude_openai.claude.process.program import find_claude
    from claude_openai.claude.process.version import parse_version, show_version

    try:
        claude = find_claude(command)
    except (ClaudeMissing, ConfigError) as error:
        return f"was not found: {error}"
    try:
        done = run_bounded([str(claude), "--version"], claude_environment(environ, extra={}, cwd=Path.cwd()), timeout_s)
    except subprocess.TimeoutExpired:
        return f"did not answer within {timeout_s:g} s ({claude})"
    except OSError as error:
        return f"cannot be run: {error.strerror or error} ({claude})"
    version = parse_version(done.stdout)
    if done.returncode or version is None:
        return f"did not print its version, exit code {done.returncode} ({claude})"
    return f"{show_version(version)} ({claude})"
