"""`logs`: print and follow the log file of the running server, or of the last server in the background.

The file is followed by name: if it is moved away, it is read to its end, then the new file from its beginning. What is
selected by level, run or time is also looked for in FILE.1, the log before FILE.
"""

import errno
import os
import select
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from claude_openai.commands import allows_colours, command_parser
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.commands.log_lines import LEVELS, LogLines
from claude_openai.commands.state.paths import LOG_FILE, home_folder
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError, StartError
from claude_openai.file_access import READ_BYTES
from claude_openai.logs.text_format import TextStyle
from claude_openai.protocol.claude_code.line_framer import LineFramer

__all__ = ["parser", "run"]

DEFAULT_LINES: Final = 50
POLL_MS: Final = 200
_STDOUT: Final = 1


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "logs",
        "Print the last lines of the server's log file. If no server is running, use the last one in the background.",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines as they are written, until Ctrl-C")
    parser.add_argument(
        "-n",
        "--lines",
        metavar="N",
        default="",
        help=f"number of lines to print first (default: {DEFAULT_LINES}; with --run or --since: all)",
    )
    parser.add_argument("--pretty", action="store_true", help="print text as on a terminal, not JSON")
    parser.add_argument("--level", metavar="LEVEL", default="", help=f"lowest level to print: {', '.join(LEVELS)}")
    parser.add_argument(
        "--run", metavar="RUN", default="", help="print the records of a run, by its id or the beginning of it"
    )
    parser.add_argument(
        "--since", metavar="TIME", default="", help="print records from this time on: 10m, 2h, 1d, or 2026-01-31T14:00"
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the last lines, and with -f new ones until Ctrl-C or until the reader of the output closes it."""
    options = parser().parse_args(list(argv))
    if options.lines and not options.lines.isdecimal():
        raise ConfigError(f"--lines: {options.lines!r} is not a whole number of at least 0")
    lines = LogLines.of(
        level=options.level, run=options.run, since=options.since, style=_style(environ) if options.pretty else None
    )
    is_unlimited = not options.lines and (lines.run or lines.since)
    limit = None if is_unlimited else int(options.lines or DEFAULT_LINES)
    _print(_log_file(environ), _Output(lines), limit, follow=options.follow)
    return 0


def _style(environ: Mapping[str, str]) -> TextStyle:
    if not sys.stdout.isatty():
        return TextStyle(has_date=True)
    return TextStyle(shutil.get_terminal_size().columns, colours=allows_colours(environ), has_date=True)


class _Output:
    """Prints the lines that are selected; without a selection the bytes of the log, as they come.

    Args:
        lines: selects and formats.
    """

    def __init__(self, lines: LogLines) -> None:
        self.lines = lines
        self._framer = LineFramer()

    def last(self, older: Path, file: BinaryIO, limit: int | None) -> deque[bytes]:
        """Return the last lines to print, at most `limit`; None for no limit."""
        if self.lines.is_everything:
            return deque(file, maxlen=limit)
        shown = map(self.lines.shown, chain(_lines_of(older), file))
        return deque((line for line in shown if line is not None), maxlen=limit)

    def write(self, chunk: bytes) -> None:
        """Print what was written to the log since."""
        if self.lines.is_everything:
            _write(chunk)
            return
        for shown in map(self.lines.shown, self._framer.feed(chunk)):
            if shown is not None:
                _write(shown)


def _lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, none if it does not exist."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        yield from file


def _log_file(environ: Mapping[str, str]) -> Path:
    instance = find_instance(instance_folder(environ))
    if instance is None:
        path = home_folder() / LOG_FILE
        if not path.exists():
            raise StartError(
                f"no server is running, and {str(path)!r}, the log of servers in the background, does not exist"
            )
        return path
    if instance.log_file is None:
        raise StartError(
            f"the server (pid {instance.pid}) has no log file: it logs to its standard output, or not at all",
            hint="start it with --log-file PATH",
        )
    return Path(instance.log_file)


def _print(path: Path, output: _Output, limit: int | None, *, follow: bool) -> None:
    with _reading(path):
        file: BinaryIO = path.open("rb")
    try:
        with _reading(path):
            last = output.last(path.with_name(f"{path.name}.1"), file, limit)
        for line in last:
            _write(line)
        while follow:
            _copy(path, file, output)
            if _is_reader_gone():
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            file = _current(path, file, output)
    finally:
        file.close()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Report errors of reading the log. Errors of the output are not caught here: `main` reports them."""
    try:
        yield
    except OSError as error:
        raise StartError(f"cannot read the log {str(path)!r}: {error.strerror or error}") from None


def _copy(path: Path, file: BinaryIO, output: _Output) -> None:
    while True:
        with _reading(path):
            chunk = file.read(READ_BYTES)
        if not chunk:
            return
        output.write(chunk)


def _current(path: Path, file: BinaryIO, output: _Output) -> BinaryIO:
    """Return the file that has the name now, at the position from which to read on."""
    with _reading(path):
        try:
            there = path.stat()
            if os.path.samestat(there, os.fstat(file.fileno())):
                if there.st_size < file.tell():
                    file.seek(0)  # it was truncated
                return file
            new = path.open("rb")
        except FileNotFoundError:
            return file  # moved away, and no new file exists yet
    _copy(path, file, output)
    file.close()
    return new


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _is_reader_gone() -> bool:
    """Wait 200 ms, or until the reader of standard output closes it; return whether it has."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(POLL_MS))
