"""`claude-openai top`: what the server does, live in the terminal.

It needs the extra `top`, which is loaded only here.
"""

import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from claude_openai.commands import allows_colours, command_parser, not_running
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError, StartError
from claude_openai.extras import install_command

__all__ = ["parser", "run"]


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser(
        "top",
        "Show live what the server does: runs, waiting times, tokens, cost, and the limits of the account. "
        "Keys select and cancel runs; ? lists them.",
    )


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    parser().parse_args(list(argv))
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise ConfigError("top needs a terminal", hint="`claude-openai runs --json` prints the runs")
    if find_spec("rich") is None:
        raise StartError(
            "top needs the package rich, which is not installed", hint=f"install it with: {install_command('top')}"
        )
    folder = instance_folder(environ)
    if find_instance(folder) is None:
        raise StartError(not_running(folder), hint="start it with `claude-openai start`")
    # Imported here: nothing else loads rich, and this command's parser loads without trio.
    import trio

    from claude_openai.commands.top.driver import Driver
    from claude_openai.commands.top.terminal import Terminal

    number = trio.run(Driver(folder, Terminal(colours=allows_colours(environ))).run)
    if number is not None:
        # The terminal is restored, so the signal may now do what it does to other commands.
        signal.raise_signal(number)
    return 0
