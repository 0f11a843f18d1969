"""The table of commands, and the parsers built from it.

The help, the completion scripts, the man page and the dispatch of `main` read this table.
"""

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from claude_openai.config import SETTINGS
from claude_openai.config.setting import HELP_ALL, Parser, with_flags

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["COMMANDS", "Command", "command_parser", "complete_parser", "main_parser"]
__all__ += ["run_command", "visible_commands"]


class Command(NamedTuple):
    """A command.

    Attributes:
        module: its module in this package. It has `run(argv, environ) -> int`, and `parser()`, which returns the parser
            of its own flags.
        summary: what it does, in at most 27 characters; "" hides it from the help.
        example: arguments of `claude-openai` that show its use.
        takes_server_flags: it accepts the flags of the server too.
    """

    module: str
    summary: str
    example: str
    takes_server_flags: bool = False


COMMANDS: Final[Mapping[str, Command]] = {
    "serve": Command("serve", "start in the foreground", "--port 9000", takes_server_flags=True),
    "start": Command("start", "start in the background", "start --demo", takes_server_flags=True),
    "status": Command("status", "show the running server", "status --json"),
    "stop": Command("stop", "stop the server", "stop"),
    "restart": Command("restart", "restart with the same flags", "restart", takes_server_flags=True),
    "runs": Command("runs", "list recent runs", "runs -n 5"),
    "top": Command("top.command", "watch the server live", "top"),
    "usage": Command("usage", "show cost and limits", "usage --json"),
    "dashboard": Command("dashboard", "print the page's address", "dashboard"),
    "tail": Command("tail", "print the output of a run", "tail -f RUN"),
    "cancel": Command("cancel", "cancel a run", "cancel RUN"),
    "logs": Command("logs", "print the server's log", "logs -f"),
    "forget": Command("forget", "forget stored responses", "forget"),
    "doctor": Command("doctor.command", "find what is misconfigured", "doctor --round-trip", takes_server_flags=True),
    "key": Command("key", "manage keys of clients", "key add alice"),
    "connect": Command("connect.command", "configure a client", "connect opencode --write"),
    "service": Command("service", "print a service unit", "service --print", takes_server_flags=True),
    "help": Command("help", "read the documentation", "help clients"),
    "completion": Command("completion", "print a completion script", "completion bash"),
    "man": Command("man", "print the manual page", "man | man -l -"),
    "version": Command("version", "print the versions", "version"),
    "daemon": Command("daemon", "", ""),
}


def visible_commands() -> dict[str, Command]:
    """Return the commands that users call."""
    return {name: command for name, command in COMMANDS.items() if command.summary}


def run_command(name: str, *arguments: Any) -> int:
    """Run a command and return its exit code. Its module is imported only now, which keeps the others fast."""
    code: int = _module(name).run(*arguments)
    return code


def main_parser(environ: Mapping[str, str]) -> Parser:
    """Return the parser of the program itself; its help lists the commands.

    Args:
        environ: environment variables; they may name the Claude Code whose version --version prints.
    """
    rows = [f"  {name:<12}{row.summary:<28}claude-openai {row.example}" for name, row in visible_commands().items()]
    parser = Parser(
        usage="%(prog)s [COMMAND] [flags]",
        description="\n".join(
            [
                "A local server that lets any OpenAI client use Claude Code.",
                "Without a command it starts in the foreground.",
                "",
                "commands, each with an example:",
                *rows,
            ]
        ),
        epilog=f"COMMAND --help describes a command, {HELP_ALL} all flags, help the rest.",
    )
    parser.add_argument(
        "-V",
        "--version",
        action=_VersionAction,
        const=environ,
        help="print the versions of the server and of Claude Code",
    )
    return parser


def command_parser(name: str, description: str) -> Parser:
    """Return a parser for a command's own flags.

    Args:
        name: name of the command.
        description: what it does, one or two sentences.
    """
    command = COMMANDS[name]
    epilog = [f"example: claude-openai {command.example}"]
    if command.takes_server_flags:
        epilog.append("The flags of the server are accepted too: claude-openai --help-all")
    return Parser(
        prog=f"claude-openai {name}",
        usage="%(prog)s [flags]" if command.takes_server_flags else None,
        description=description,
        epilog="\n".join(epilog),
    )


def complete_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the program and those of its commands, each with all flags and full help texts."""
    parsers = {name: _module(name).parser() for name in visible_commands()}
    for name, parser in parsers.items():
        if COMMANDS[name].takes_server_flags:
            with_flags(parser, SETTINGS, every=True)
    main = with_flags(main_parser({}), SETTINGS, every=True)
    return main, parsers


def _module(name: str) -> "ModuleType":
    return import_module(f"claude_openai.commands.{COMMANDS[name].module}")


class _VersionAction(argparse.Action):
    """Prints the versions and exits; `const` holds the environment variables."""

    def __init__(self, option_strings: Sequence[str], dest: str, **others: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **others)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        _module("version").print_versions(getattr(namespace, "claude_command", None), self.const)
        parser.exit()
