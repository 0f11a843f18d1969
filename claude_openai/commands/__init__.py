"""The command line: which command is meant, and its exit code. The only place that prints, and that knows signals.

A command is a module with a `run`; it is loaded when it is called, so that none pays for what another needs. Without a
command the server runs.

Exit codes: 0 after a stop, 1 when something cannot be done (such as a start), 2 for a bad flag, variable or command,
128 + N when a second signal N ended the server at once, or a signal a start in the background, 130 when Ctrl-C ended
another command, 141 when nobody reads the output.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TextIO

from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError, StartError, leaves

__all__ = ["COMMANDS", "EXIT_SIGNAL", "command_parser", "has_flag", "main", "main_parser", "say", "without_flags"]

EXIT_CANNOT: Final = 1
EXIT_BAD_VALUE: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_SIGNAL: Final = 128

# How standard output fails: nobody reads it, or there is no room. Files that a command writes tell of it themselves.
_OUTPUT_FAILED: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

# Name -> module in this package, and a line of help; "" for what only the program itself calls.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "status": ("status", "say whether a server runs, where, and how it is"),
    "stop": ("stop", "end the server, with time for its running turns"),
    "restart": ("restart", "end the server in the background, and start it again"),
    "runs": ("runs", "list the runs, the newest first"),
    "tail": ("tail", "print what a run says"),
    "cancel": ("cancel", "end a run"),
    "logs": ("logs", "print the log of the server, or of the last one"),
    "doctor": ("doctor.command", "say what keeps a server from working here, and how to mend it"),
    "connect": ("connect.command", "print, or write, the configuration that makes a client use this server"),
    "service": ("service", "print a unit for systemd or launchd that keeps a server running"),
    "daemon": ("daemon", ""),
}


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit code.

    Args:
        argv: without the program's name; by default the process's own.
        environ: by default the process's own.
    """
    # A name or a text that the terminal's encoding does not have is no reason to fail.
    with suppress(AttributeError):  # standard output may be anything
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            return _code(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # now, where it can be told that it does not work
    except OSError as error:
        if error.errno not in _OUTPUT_FAILED or error.filename is not None:
            raise  # something else than the output
        return _output_failed(error)
    finally:
        _forget_unsaid()


def say(*lines: str) -> None:
    """To standard error, if there is one and somebody reads it: no command stops halfway for what it cannot say."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(*lines, sep="\n", file=sys.stderr, flush=True)


def main_parser() -> Parser:
    """A parser for the program itself, whose help names the commands."""
    lines = [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items() if text]
    return Parser(
        usage="%(prog)s [flags]\n       %(prog)s COMMAND [flags]",
        epilog="\n".join(["commands (claude-openai COMMAND --help tells more):", *lines]),
        formatter_class=_HelpFormatter,
    )


def command_parser(name: str, more: str = "") -> Parser:
    """A parser for the flags of a command; `more` is said after its line in the help."""
    text = COMMANDS[name][1]
    return Parser(prog=f"claude-openai {name}", description=f"{text[:1].upper()}{text[1:]}. {more}".strip())


def without_flags(argv: Sequence[str]) -> tuple[str, ...]:
    """The flags of a server that may be written down: no key, and nothing about the background.

    Args:
        argv: flags that were understood.
    """
    kept, is_dropped = [], False
    for word in argv:
        if word.startswith("-"):  # no value does
            is_dropped = word.partition("=")[0] in ("--api-key", "--background", "--no-background")
        if not is_dropped:
            kept.append(word)
    return tuple(kept)


def has_flag(argv: Sequence[str], flag: str) -> bool:
    """Whether a flag that takes a value is given.

    Args:
        argv: flags that were understood, so that no value looks like a flag.
        flag: its whole name; there are no shorter ones.
    """
    return any(word.partition("=")[0] == flag for word in argv)


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps all texts but the list of commands."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def _code(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    code = 0
    try:
        code = _run(argv, environ)
    except* ConfigError as group:
        code = _refuse(group, EXIT_BAD_VALUE)
    except* StartError as group:
        code = _refuse(group, EXIT_CANNOT)
    except* KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    return code


def _output_failed(error: OSError) -> int:
    """The exit code for an output that cannot be written, after a word unless its reader has simply left."""
    _to_nowhere(sys.stdout)
    if error.errno == errno.EPIPE:
        return EXIT_SIGNAL + signal.SIGPIPE
    say(f"claude-openai: the output cannot be written: {error.strerror}")
    return EXIT_CANNOT


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    module, rest = "serve", argv
    if argv and not argv[0].startswith("-"):
        if argv[0] not in COMMANDS:
            raise ConfigError(f"{argv[0]!r} is not a command (claude-openai --help lists them)")
        module, rest = COMMANDS[argv[0]][0], argv[1:]
    code: int = importlib.import_module(f"claude_openai.commands.{module}").run(rest, environ)
    return code


def _forget_unsaid() -> None:
    """What could not be said on standard error is no reason for another exit code."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        _to_nowhere(sys.stderr)


def _to_nowhere(stream: TextIO | None) -> None:
    """What is still buffered would fail once more when the interpreter ends."""
    with suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _refuse(group: BaseExceptionGroup[Exception], code: int) -> int:
    for error in leaves(group):
        say(f"claude-openai: {error}")
    return code
