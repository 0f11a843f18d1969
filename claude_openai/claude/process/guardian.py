"""The server's side of the guardian process: starts it, and requests programs from it.

A program is identified here by a socket, its `Link`, and never by its pid. The other end belongs to the program's
supervisor, which reports events on it, and kills the program with all its descendants when the link closes. So a link
that is lost between the request and its owner, by a cancel or the death of the server, ends the program too.
The program itself is killed by a pidfd, if there is one: Claude Code makes another, billed call about 20 ms after some
answers, and on a busy machine the supervisor would be too late.
`guardian_program` describes the guardian.
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

# Read when the server starts: a restarted guardian must match this version, even if another one was installed since.
# It is sent over the socket, because `ps` would show it as an argument.
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

# A start takes a few ms, unless the machine is out of memory or the guardian was stopped.
GUARDIAN_START_S = 20.0
START_TRIES = 3
# The time for the guardian to exit after its socket closes, and the interval in which that is checked.
DYING_S = 1.0
DEATH_POLL_S = 0.01
# At its end the guardian only removes some files, which takes much less.
GUARDIAN_END_S = 5.0
LINE_BYTES = 512
ANCILLARY_BYTES = socket.CMSG_SPACE(4)  # one descriptor
CLOSE_ON_EXEC = socket.MSG_CMSG_CLOEXEC if sys.platform == "linux" else 0


class GuardianGone(Exception):
    """A request got no answer: the guardian, or the supervisor that should answer, has died."""


class Link:
    """The connection to a program's supervisor. The program and its descendants end when it is closed.

    Args:
        near: one end of a socket pair; the supervisor has the other end.
    """

    def __init__(self, near: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        self._framer = LineFramer()
        self._lines: deque[bytes] = deque()
        self._pidfds: list[int] = []

    async def send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # `next_line` reports it
            await self._stream.send_all(data)

    async def next_line(self) -> str:
        """Return the supervisor's next line; "" once the supervisor and all descendants of the program have ended."""
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
        """Have the program and its descendants killed; the supervisor's lines can still be read."""
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
    """A running program.

    Attributes:
        pid: for messages only; the pid may be reused after the program's end.
        link: brings `exited CODE`, and ends when no descendant is left.
        stdin: the program's standard input; `stdout` and `stderr` are its outputs.
    """

    pid: int
    link: Link
    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream

    def close(self) -> None:
        """Close the link and the pipes. The supervisor then ends the program."""
        for each in (self.stdin, self.stdout, self.stderr, self.link):
            each.close()


class Guardian:
    """The guardian process, which is restarted if it was killed.

    Args:
        folder: the guardian removes it after the server has ended or died.
        log: records restarts of the guardian.

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
        """Start a program in a new session, under a supervisor.

        Args:
            argv: its command line, with the full path of the program.
            env: its complete environment.
            cwd: its working folder; resolved by the process that becomes the program.

        Raises:
            OSError: the program or the guardian could not be started.
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
        """End the guardian and everything it started. Blocks for a few ms."""
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
        """Send the guardian the far ends of a link and of three pipes.

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
            if self._control.fileno() < 0:  # the last start of a guardian failed
                raise GuardianGone
            try:
                socket.send_fds(self._control, [b"+"], far_ends)
            except (BrokenPipeError, ConnectionResetError):
                raise GuardianGone from None
            return link, near_ends

    async def _revive(self, process: "subprocess.Popen[bytes]") -> None:
        """Start another guardian if this one has died, unless another task has done so."""
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
    """Run a guardian for the length of the block.

    Args:
        folder: removed when the block, or the server, ends.
        log: records restarts of the guardian.
    """
    guardian = Guardian(folder, log)
    try:
        yield guardian
    finally:
        guardian.close()
