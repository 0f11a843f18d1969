"""What watching costs: the rate of a stream while pages are open and other runs come and go, with and without pages.

Both are measured in turn in one server. The rate is that of a second of the server's processor time, which bounds a
fast stream, and which other programs of the machine change less than they do the clock. Linux only.
"""

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from .client import READ_BYTES, Timing, stream
from .report import cpu_ms, report, server

__all__ = ["watching"]

ROUNDS = 15
WATCHERS = 50
RUNS_A_MINUTE = 200
DELTAS = 60_000
BOUND = 0.97
CONTROL_KEY = "benchmark"


@contextmanager
def watchers(url: str, count: int, received: list[int]) -> Iterator[None]:
    """So many readers of the watch stream, which have their snapshot; further bytes are added to `received`."""
    where = urlsplit(url)
    request = f"GET /control/watch HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {CONTROL_KEY}\r\n\r\n"

    has_snapshot = threading.Semaphore(0)

    def read_all(connection: socket.socket) -> None:
        is_first = True
        while data := connection.recv(READ_BYTES):
            if not is_first:
                received.append(len(data))
            elif data.endswith(b"]}\n\n\r\n"):  # its chunk
                is_first = False
                has_snapshot.release()

    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection((where.hostname or "", where.port or 80)))
            connection.sendall(request.encode())
            reader = threading.Thread(target=read_all, args=(connection,), daemon=True)
            reader.start()
            stack.callback(reader.join)
            stack.callback(connection.shutdown, socket.SHUT_RDWR)
        for _ in range(count):
            has_snapshot.acquire()
        yield


@contextmanager
def other_runs(url: str) -> Iterator[list[Timing]]:
    """Short runs of other clients, for the length of the block."""
    stopped, done = threading.Event(), list[Timing]()

    def run() -> None:
        while not stopped.wait(60 / RUNS_A_MINUTE):
            done.append(stream(url, "burst 50"))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        stopped.set()
        thread.join()


def watching() -> None:
    rates: dict[bool, list[float]] = {False: [], True: []}
    received: list[int] = []
    with server("scripted") as (url, pid):
        stream(url, f"say {DELTAS // 10}")
        with other_runs(url) as others:
            for number in range(2 * ROUNDS):
                is_watched = number % 2 == 1
                with watchers(url, WATCHERS if is_watched else 0, received):
                    time.sleep(2)
                    before_ms = cpu_ms(pid)
                    measured = stream(url, f"say {DELTAS}")
                    rates[is_watched].append(1000 * measured.deltas / (cpu_ms(pid) - before_ms))
    without, with_them = (statistics.median(rates[is_watched]) for is_watched in (False, True))
    # By pairs: the speed of a machine that others use changes within a minute by more than the bound.
    ratio = statistics.median(watched / alone for alone, watched in zip(rates[False], rates[True], strict=True))
    report("deltas a second of the processor, no page open", f"{without:,.0f}, beside {len(others)} other runs")
    name = f"the same, {WATCHERS} pages open"
    report(name, f"{with_them:,.0f}, {ratio:.3f} of it, {sum(received) / 1e6:.1f} MB sent", holds=ratio >= BOUND)
