"""The server's side of the guardian process: starts it, and asks it for programs.

A program is known here by a socket, its `Link`, and never by its number: the far end belongs to the supervisor of the
program, which says on it what happens, and kills all that descends from the program when the link ends. So whatever is
lost on the way from the request to the owner of the link, by a cancel or the death of the server, ends the program too.
The program itself is killed by a pidfd, if there is one: Claude Code makes another, billed call about 20 ms after some
answers, and on a busy machine the supervisor would be too late.
What the guardian does is told in `guardian_program`.
"""

import errno
import marshal
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from claude_openai.claude.leftovers import sweep as leftovers
from claude_openai.claude.process import guardian_program as supervisor
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.line_framer import LineFramer

__all__ = ["Guardian", "Link", "Started", "guarding"]

# Read when the server starts: a guardian that is started again must be the one that this version can talk to, though
# another may have been installed meanwhile. It is sent, and not an argument, which everybody would see in `ps`.
PROGRAM = Path(supervisor.__file__).read_bytes()
SWEEP = Path(leftovers.__file__).read_bytes()
READ_PROGRAM = """
import socket
control = socket.socket(fileno=0)
size = int.from_bytes(control.recv(8, socket.MSG_WAITALL))
program = control.recv(size, socket.MSG_WAITALL)
control.detach()
exec(compile(program, "supervisor.py", "exec"))
"""

# A program is started in a few ms, unless the machine is out of memory or the guardian was stopped.
GUARDIAN_START_S = 20.0
START_TRIES = 3
# From the end of the guardian's socket to its own, and how often it is looked for.
DYING_S = 1.0
DEATH_POLL_S = 0.01
# The guardian has at most some files to remove; it never takes this long.
GUARDIAN_END_S = 5.0
LINE_BYTES = 512
ANCILLARY_BYTES = socket.CMSG_SPACE(4)  # one descriptor
CLOSE_ON_EXEC = socket.MSG_CMSG_CLOEXEC if sys.platform == "linux" else 0


class GuardianGone(Exception):
    """There was no answer to a request: the guardian, or the supervisor that was to answer, has died."""


class Link:
    """What holds a program. Everything that descends from it ends when this is closed, or the server dies.

    Args:
        near: one end of a socket pair, whose other end is its supervisor's.
    """

    def __init__(self, near: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        self._framer = LineFramer()
        self._lines: deque[bytes] = deque()
        self._pidfds: list[int] = []

    async def send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # the next line says so
            await self._stream.send_all(data)

    async def next_line(self) -> str:
        """What the supervisor says next; "" when it has ended, and with it all that descends from the program."""
        while not self._lines:
            try:
                data, ancillary, _, _ = await self._stream.socket.recvmsg(LINE_BYTES, ANCILLARY_BYTES, CLOSE_ON_EXEC)
            except (OSError, trio.ClosedResourceError):
                return ""
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self._pidfds.append(int.from_bytes(content, sys.byteorder))
            if not data:
                return ""
            self._lines.extend(self._framer.feed(data))
        return self._lines.popleft().decode()

    def kill(self) -> None:
        """Have everything killed; what the supervisor says of it can still be read."""
        for pidfd in self._pidfds:
            with suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._stream.socket.close()
        while self._pidfds:
            os.close(self._pidfds.pop())


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs.

    Attributes:
        pid: its number, for messages only; once it has ended it may be another process's.
        link: says `exited CODE`, and ends when nothing is left of it.
        stdin: of the program, and so on.
    """

    pid: int
    link: Link
    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream

    def close(self) -> None:
        """Close all four. What is left of the program then is for its supervisor to end."""
        for each in (self.stdin, self.stdout, self.stderr, self.link):
            each.close()


class Guardian:
    """The guardian process, started again when somebody has killed it.

    Args:
        folder: removed when the server has ended, in whatever way.
        log: told when it had to be started again.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder = folder
        self._log = log
        self._launch()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Started:
        """Start a program, in a session of its own, under a supervisor.

        Args:
            argv: its command line, the program with its full path.
            env: all of its environment.
            cwd: where it starts; resolved by the process that becomes the program.

        Raises:
            OSError: it could not be started, or the guardian could not.
        """
        words = [os.fsencode(word) for word in argv]
        variables = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        request = marshal.dumps((words, variables, os.fsencode(cwd)))
        message = supervisor.message(request)
        for _ in range(START_TRIES):
            process = self._process
            try:
                return await self._request(message, argv[0], cwd)
            except GuardianGone:
                await self._revive(process)
        raise OSError(errno.ECHILD, "its supervisor was killed", argv[0])

    def close(self) -> None:
        """End the guardian, and with it all that it has started. Blocks for the few ms that takes."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GUARDIAN_END_S)

    async def _request(self, message: bytes, program: str, cwd: Path) -> Started:
        with ExitStack() as unless_started:
            near, pipes = self._hand_over(unless_started)
            link = Link(near)
            answer = ""
            with trio.move_on_after(GUARDIAN_START_S) as waiting:
                await link.send(message)
                answer = await link.next_line()
            if waiting.cancelled_caught:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), program)
            match answer.split():
                case ["started", pid]:
                    unless_started.pop_all()
                    return Started(int(pid), link, *map(trio.lowlevel.FdStream, pipes))
                case ["failed", number, what]:
                    raise OSError(int(number), os.strerror(int(number)), str(cwd) if what == "folder" else program)
                case _:
                    raise GuardianGone

    def _hand_over(self, unless_started: ExitStack) -> tuple[socket.socket, list[int]]:
        """Give the guardian the far ends of a link and of three pipes.

        Args:
            unless_started: closes the near ends.

        Returns:
            The near ends: the link, and the pipes for standard input, output and error.
        """
        with ExitStack() as far:
            link, far_link = socket.socketpair()
            unless_started.callback(link.close)
            far.callback(far_link.close)
            near_ends, far_ends = [], [far_link.fileno()]
            for name in ("stdin", "stdout", "stderr"):
                ends = os.pipe()
                near_end, far_end = reversed(ends) if name == "stdin" else ends
                unless_started.callback(os.close, near_end)
                far.callback(os.close, far_end)
                near_ends.append(near_end)
                far_ends.append(far_end)
            if self._control.fileno() < 0:  # the last one could not be started
                raise GuardianGone
            try:
                socket.send_fds(self._control, [b"+"], far_ends)
            except (BrokenPipeError, ConnectionResetError):
                raise GuardianGone from None
            return link, near_ends

    async def _revive(self, process: "subprocess.Popen[bytes]") -> None:
        """Start another guardian if this one has died, unless that was done already."""
        with trio.move_on_after(DYING_S):
            while process.poll() is None:  # noqa: ASYNC110 - seldom, and there is no event
                await trio.sleep(DEATH_POLL_S)
        if process.returncode is not None and self._process is process:
            self._log.warning("guardian.restarted")
            self._control.close()
            self._launch()

    def _launch(self) -> None:
        control, far_control = socket.socketpair()
        try:
            with far_control:
                self._process = subprocess.Popen(  # noqa: S603 - our own program; the folder is an argument
                    [sys.executable, "-I", "-S", "-c", READ_PROGRAM, "claude-openai-guardian", str(self._folder)],
                    stdin=far_control.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"PATH": os.defpath},
                    start_new_session=True,
                )
            # The buffer of the socket has room for them.
            control.sendall(supervisor.message(PROGRAM) + supervisor.message(SWEEP))
        except BaseException:
            control.close()
            raise
        control.setblocking(False)
        self._control = control


@contextmanager
def guarding(folder: Path, log: Log) -> Iterator[Guardian]:
    """Run a guardian for as long as the block.

    Args:
        folder: removed when the block, or the server, ends.
        log: told when the guardian had to be started again.
    """
    guardian = Guardian(folder, log)
    try:
        yield guardian
    finally:
        guardian.close()
