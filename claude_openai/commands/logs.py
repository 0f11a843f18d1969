"""`logs`: print and follow the log file of the running server, or of the last server in the background.

The file is followed by name: if it is moved away, it is read to its end, then the new file from its beginning.
"""

import errno
import os
import select
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from claude_openai.commands import command_parser
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.commands.state.paths import LOG_FILE, home_folder
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError, StartError
from claude_openai.file_access import READ_BYTES

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
        default=str(DEFAULT_LINES),
        help=f"number of lines to print first (default: {DEFAULT_LINES})",
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the last lines, and with -f new ones until Ctrl-C or until the reader of the output closes it."""
    options = parser().parse_args(list(argv))
    if not options.lines.isdecimal():
        raise ConfigError(f"--lines: {options.lines!r} is not a whole number of at least 0")
    _print(_log_file(environ), int(options.lines), follow=options.follow)
    return 0


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


def _print(path: Path, lines: int, *, follow: bool) -> None:
    with _reading(path):
        file: BinaryIO = path.open("rb")
    try:
        with _reading(path):
            last = deque(file, maxlen=lines)
        for line in last:
            _write(line)
        while follow:
            _copy(path, file)
            if _is_reader_gone():
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            file = _current(path, file)
    finally:
        file.close()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Report errors of reading the log. Errors of the output are not caught here: `main` reports them."""
    try:
        yield
    except OSError as error:
        raise StartError(f"cannot read the log {str(path)!r}: {error.strerror or error}") from None


def _copy(path: Path, file: BinaryIO) -> None:
    while True:
        with _reading(path):
            chunk = file.read(READ_BYTES)
        if not chunk:
            return
        _write(chunk)


def _current(path: Path, file: BinaryIO) -> BinaryIO:
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
    _copy(path, file)
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
