"""The guardian process: it starts each `claude`, and ends all of its descendants.

This file is a program (`python -I -S`); the server runs it as one child, and sends it requests over a socket
(`guardian`), without using pids. It imports little of the standard library and nothing else: every process below is a
fork of this small interpreter.

- The *guardian* forks a *supervisor* for each request. When the server ends or dies, the guardian's socket closes: the
  guardian waits for the supervisors and removes the private folder.
- A *supervisor* is the parent of one `claude`, and a subreaper (prctl(2), Linux): a descendant that loses its parent,
  by `setsid`, `nohup` or a double fork, becomes a child of the supervisor, not of init. It reaps all of them. Once
  `claude` has ended, or its socket has closed (the server closes it to kill, and the kernel closes it when the server
  dies), it kills its children until waitpid(2) reports none. So no descendant can survive.
- The guardian is a subreaper too: the children of a killed supervisor become its own, and are killed.

Alternatives. The server itself must not be a subreaper: a program that embeds it would become the parent of foreign
orphans, and could not distinguish them from its own children. `claude` as its own subreaper (the flag survives exec)
would suffice for killing, but it never reaps: an ended background command would stay a zombie, and `kill -0 PID`, by
which scripts wait for an end, would always succeed. An interpreter for each `claude` would give the same guarantee with
less code, at a higher cost than forks of one. In one run, medians of 30, time to the first answer of a `cat` and
private memory: started by the server 1.7 ms; by a fork 5.4 ms and 1.7 MB; by an interpreter each 51 ms and 5.2 MB. The
guardian has 6 MB.

Killing by pid is safe here, and only here: a child keeps its pid until it is reaped, and only its parent reaps it.

Without a subreaper (macOS), the descendants of `claude` are looked up once, before it is killed. A process that has
left its parent by then is not found, nor is one in a new session that outlives a `claude` that exited.
"""

import ctypes
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

__all__ = ["guard", "main", "message", "supervise"]

HEADER_BYTES = 8
PIPES = 3  # standard input, output and error of the program

PR_SET_CHILD_SUBREAPER = 36

# While children are being killed, look for more in this interval, and after each death.
LOOK_AGAIN_S = 1.0
# After the server's end, supervisors that still run after this time are killed; after twice the time the folder is
# removed anyway.
SUPERVISORS_END_S = 3.0


class Deaths:
    """Wakes a waiting process when one of its children dies. One instance per process."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # Empty handlers instead of SIG_IGN: exec resets them, so `claude` starts with the defaults.
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def wait(self, other: socket.socket | None, timeout_s: float | None) -> bool:
        """Wait for a death, the socket, or the timeout; return whether the socket is readable."""
        watched = [self._read] if other is None else [self._read, other.fileno()]
        readable = select.select(watched, [], [], timeout_s)[0]
        with suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass
        return other is not None and other.fileno() in readable

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)


def guard(control: socket.socket, sweep: bytes, folder: str) -> None:
    """Fork a supervisor for each message on `control`; when it closes, end all supervisors and remove their files.

    Args:
        control: each message is one byte and four descriptors: the supervisor's socket, and the program's standard
            input, output and error.
        sweep: source of the program that removes the files of a killed server's processes (`leftovers`).
        folder: the server's private folder, removed at the end.
    """
    become_subreaper()
    deaths = Deaths()
    supervisors: set[int] = set()
    server_lives = True
    deadline = float("inf")
    while True:
        ended, any_left = reap()
        supervisors -= ended.keys()
        if time.monotonic() > deadline and supervisors:
            supervisors.clear()
            deadline += SUPERVISORS_END_S
        if any_left and (any(ended.values()) or not supervisors):
            # A supervisor was killed, and its children became ours.
            kill_children(spared=supervisors)
        if not server_lives and (not any_left or time.monotonic() > deadline):
            break
        if deaths.wait(control if server_lives else None, None if server_lives else LOOK_AGAIN_S):
            message, descriptors, _, _ = socket.recv_fds(control, 1, PIPES + 1)
            if message:
                supervisors |= fork_supervisor(control, deaths, descriptors)
            else:
                server_lives = False
                deadline = time.monotonic() + SUPERVISORS_END_S
    if any(name.endswith(".json") for name in listed(f"{folder}/ledger")):
        subprocess.run([sys.executable, "-I", "-S", "-c", sweep, folder], check=False)  # noqa: S603 - our own program
    import shutil  # imported late: it is large, and every fork would carry it

    shutil.rmtree(folder, ignore_errors=True)


def fork_supervisor(control: socket.socket, deaths: Deaths, descriptors: Sequence[int]) -> set[int]:
    """Return the supervisor's pid; an empty set if the fork failed, which is reported to the server."""
    orders = socket.socket(fileno=descriptors[0])
    pipes = descriptors[1:]
    try:
        pid = os.fork()
    except OSError as error:
        answer(orders, f"failed {error.errno} program")
        pid = -1
    if pid == 0:
        code = 1
        try:
            control.close()
            deaths.close()
            supervise(orders, pipes)
            code = 0
        finally:
            os._exit(code)
    orders.close()
    for pipe in pipes:
        os.close(pipe)
    return {pid} - {-1}


def supervise(orders: socket.socket, pipes: Sequence[int], *, subreaper: bool = True) -> None:
    """Start one program and reap all its descendants; return when none is left.

    Answers on `orders`, a line each: `started PID` or `failed ERRNO program|folder`, then `exited CODE`. A pidfd of the
    program comes with `started` (Linux).

    Args:
        orders: brings the request, the marshalled (argv, env, cwd), all in bytes; when it closes, all are killed.
        pipes: standard input, output and error of the program; closed here once the program has them.
        subreaper: False behaves as on a system without subreapers.
    """
    os.setsid()
    subreaper = subreaper and become_subreaper()
    deaths = Deaths()
    leader = start(orders, pipes)
    killing = leader == 0
    while True:
        ended, any_left = reap()
        if leader in ended:
            killing = True
            answer(orders, f"exited {ended[leader]}")
            if not subreaper:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(leader, signal.SIGKILL)
        if not any_left:
            return
        if killing:
            kill_children(deep=not subreaper)
        if deaths.wait(None if killing else orders, LOOK_AGAIN_S if killing else None):
            killing = True
            if subreaper:  # its children become ours when it is dead; a search before that finds none
                os.kill(leader, signal.SIGKILL)
                deaths.wait(None, LOOK_AGAIN_S)


def start(orders: socket.socket, pipes: Sequence[int]) -> int:
    """Start the requested program; return its pid, 0 if the start failed or the server has closed the socket."""
    request = receive(orders)
    if not request:
        return 0
    argv, env, cwd = marshal.loads(request)  # noqa: S302 - from our own parent
    try:
        stdin, stdout, stderr = pipes
        program = subprocess.Popen(  # noqa: S603 - the server decides what to start
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        answer(orders, f"failed {error.errno} {'folder' if error.filename == cwd else 'program'}")
        return 0
    finally:
        for pipe in pipes:
            os.close(pipe)
    program.returncode = 0  # `reap` waits for it, so this object must not when it is collected
    descriptors = []
    if sys.platform == "linux":
        with suppress(OSError):  # no descriptor is left, or an old kernel
            descriptors.append(os.pidfd_open(program.pid))
    answer(orders, f"started {program.pid}", descriptors)
    for each in descriptors:
        os.close(each)
    return program.pid


def message(content: bytes) -> bytes:
    """Frame a message for `receive`."""
    return len(content).to_bytes(HEADER_BYTES) + content


def receive(link: socket.socket) -> bytes:
    """Return the next message; b"" if it is incomplete."""
    size = int.from_bytes(link.recv(HEADER_BYTES, socket.MSG_WAITALL))
    content = link.recv(size, socket.MSG_WAITALL)
    return content if len(content) == size else b""


def answer(orders: socket.socket, line: str, descriptors: Sequence[int] = ()) -> None:
    with suppress(OSError):  # the server may be gone
        socket.send_fds(orders, [line.encode() + b"\n"], descriptors)


def reap() -> tuple[dict[int, int], bool]:
    """Reap dead children; return their exit codes by pid, negative for a signal, and whether any child is left."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if pid == 0:
            return ended, True
        ended[pid] = os.waitstatus_to_exitcode(status)


def kill_children(*, spared: Collection[int] = (), deep: bool = False) -> None:
    """Kill the children of this process, and the process group of each. Call again: their children become ours.

    Args:
        spared: pids that are not killed.
        deep: also kill the children of children, for systems where they would become children of init.
    """
    parents = dict(processes())
    found = [os.getpid()]
    for each in found[:1] if not deep else found:
        found += [pid for pid, parent in parents.items() if parent == each and pid not in spared]
    for pid in found[1:]:
        kill_group(pid)


def kill_group(member: int) -> None:
    """Kill a process and its group in one step, so that no member can fork in between."""
    with suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(member)
        if group != os.getpgrp():
            os.killpg(group, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.kill(member, signal.SIGKILL)


def processes() -> list[tuple[int, int]]:
    """Return pid and parent pid of every process."""
    if sys.platform != "linux":
        command = ["/bin/ps", "-A", "-o", "pid=,ppid="]
        lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()  # noqa: S603
        return [(int(pid), int(parent)) for pid, parent in map(str.split, lines)]
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is large
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                # The name, in parentheses, may have any characters.
                found.append((int(name), int(file.read().rpartition(b")")[2].split()[1])))
    return found


def listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - pathlib is large
    except OSError:
        return []


def become_subreaper() -> bool:
    """Make this process the parent of orphaned descendants; return whether the system supports that."""
    return sys.platform == "linux" and not ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a mask of the server's would be inherited
    # The socket is standard input, so that no descriptor number has to be passed; the folder is the last argument.
    control = socket.socket(fileno=0)
    guard(control, receive(control), sys.argv[-1])


if __name__ == "__main__":
    main()
