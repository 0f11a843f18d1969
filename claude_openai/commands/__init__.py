"""The command line: run a command and return its exit code. Only this package prints.

`table` lists the commands. Without a command the server starts in the foreground.

Exit codes: 0 for success, also of a server that was stopped; 1 for a failure, such as a failed start; 2 for a bad flag,
variable or command; 128 + N when a second signal N ended the server at once, or a signal N interrupted its start in the
background; 130 when Ctrl-C ended another command; 141 when the reader of the output has closed it.
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

# Failures of standard output: its reader has closed it, or no space is left. An error that names a file is not one.
_OUTPUT_FAILED: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit code.

    Args:
        argv: arguments without the program's name; by default those of the process.
        environ: environment variables; by default those of the process.
    """
    # A character that the terminal's encoding lacks must not fail the command.
    with suppress(AttributeError):  # standard output may have been replaced by another object
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            return _exit_code(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # now, while a failure can still be reported
    except OSError as error:
        if error.errno not in _OUTPUT_FAILED or error.filename is not None:
            raise  # not a failure of the output
        return _output_failed(error)
    finally:
        _flush_stderr()


def say(*lines: str) -> None:
    """Print lines to standard error. Ignore failures, so that no command stops halfway because of them."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            # One write, so that no line of the log comes between a line and its end.
            sys.stderr.write("".join(f"{line}\n" for line in lines))
            sys.stderr.flush()


def not_running(folder: Path) -> str:
    """Return the message that no server is running.

    Args:
        folder: folder of the instance files, which depends on TMPDIR.
    """
    return f"claude-openai is not running (no server has its files in {folder}, which TMPDIR sets)"


def without_flags(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the flags of a server that may be stored: without the key, and without those for the background.

    Args:
        argv: flags that were parsed before.
    """
    kept, is_dropped = [], False
    for word in argv:
        if word.startswith("-"):  # values never do
            is_dropped = word.partition("=")[0] in ("--api-key", "--background", "--no-background")
        if not is_dropped:
            kept.append(word)
    return tuple(kept)


def has_flag(argv: Sequence[str], flag: str) -> bool:
    """Return whether a flag that takes a value is set.

    Args:
        argv: flags that were parsed before, so that no value looks like a flag.
        flag: its full name; the parsers accept no abbreviations.
    """
    return any(word.partition("=")[0] == flag for word in argv)


def _exit_code(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    code = 0
    try:
        code = _run(argv, environ)
    except* ConfigError as group:
        code = _report_errors(group, EXIT_BAD_VALUE)
    except* StartError as group:
        code = _report_errors(group, EXIT_CANNOT)
    except* KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    return code


def _output_failed(error: OSError) -> int:
    """Return the exit code for an output that cannot be written. Report it unless the reader has closed the output."""
    _redirect_to_null(sys.stdout)
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


def _flush_stderr() -> None:
    """Flush standard error now: a failure when the interpreter exits would change the exit code."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        _redirect_to_null(sys.stderr)


def _redirect_to_null(stream: TextIO | None) -> None:
    """Point a stream at /dev/null: its buffer would fail again when the interpreter exits."""
    with suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _report_errors(group: BaseExceptionGroup[Exception], code: int) -> int:
    for error in leaves(group):
        say(f"claude-openai: {error}")
    return code
