"""The command line: runs the command and returns its exit code. Only this package prints.

The commands are listed in `table`. Without a command the server starts in the foreground.

Exit codes: 0 after a stop, 1 when something cannot be done (such as a start), 2 for a bad flag, variable or command,
128 + N when a second signal N ended the server at once, or a signal a start in the background, 130 when Ctrl-C ended
another command, 141 when nobody reads the output.
"""

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from claude_openai.commands.table import COMMANDS, command_parser, main_parser, run_command, visible_commands
from claude_openai.config.suggestions import did_you_mean
from claude_openai.errors import ConfigError, StartError, leaves

__all__ = ["COMMANDS", "EXIT_SIGNAL", "command_parser", "has_flag", "main", "not_running", "say", "without_flags"]

EXIT_CANNOT: Final = 1
EXIT_BAD_VALUE: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_SIGNAL: Final = 128

# How standard output fails: nobody reads it, or there is no room. Files that a command writes tell of it themselves.
_OUTPUT_FAILED: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


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


def not_running(folder: Path) -> str:
    """Return the line that says that no server is running.

    Args:
        folder: where its files would be; it differs where TMPDIR does.
    """
    return f"claude-openai is not running (no server has its files in {folder}, which TMPDIR sets)"


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
    if not argv or argv[0].startswith("-"):
        return run_command("serve", argv, environ, main_parser(environ))
    if argv[0] not in COMMANDS:
        hint = f"{did_you_mean(argv[0], visible_commands())} `claude-openai --help` lists the commands"
        raise ConfigError(f"unknown command: {argv[0]!r}", hint=hint.strip())
    return run_command(argv[0], argv[1:], environ)


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
