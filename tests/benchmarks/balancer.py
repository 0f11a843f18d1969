"""Requests a second through HAProxy, with one, two and three servers on a backend that costs nothing, and without it.

All ways are measured in turn in one run, against one server without HAProxy. Servers, HAProxy and clients share the
cores: with two cores, three servers cannot answer three times as many requests.
"""

import itertools
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import trio

from tests.conditions import lacks
from tests.real.balancers import free_port, haproxy

from .client import CHAT_MARKS, streamed
from .report import cpu_ms, report, server

__all__ = ["balancer"]

ROUNDS: Final = 5
REQUESTS: Final = 200
AT_ONCE: Final = 8
ALONE: Final = 50
REPLICAS: Final = 3
# Of an agent with a short history.
BODY: Final = {"messages": [{"role": "user", "content": "What a file says. " * 1000 + "say 20"}]}
SESSIONS: Final = itertools.count()


def balancer(folder: Path) -> None:
    if why := lacks("haproxy"):
        report("requests through HAProxy", f"not measured: {why}")
        return
    with ExitStack() as stack:
        started = [stack.enter_context(server("scripted")) for _ in range(REPLICAS)]
        servers = [url for url, _ in started]
        # Of each way the process whose time is measured: the server's, or HAProxy's.
        ways = {"without HAProxy": started[0]}
        for count in range(1, REPLICAS + 1):
            ways[f"through HAProxy, {count} of them"] = stack.enter_context(_balancing(folder, servers[:count]))
        for url, _ in ways.values():
            _rate(url)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        alone: dict[str, list[float]] = {name: [] for name in ways}
        needs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (url, pid) in ways.items():
                before = cpu_ms(pid)
                rates[name].append(_rate(url))
                needs[name].append((cpu_ms(pid) - before) / REQUESTS)
                alone[name].append(_alone_ms(url))
    first, *others = (statistics.median(rates[name]) for name in ways)
    base_ms = statistics.median(alone["without HAProxy"])
    report(f"a server, {AT_ONCE} requests at once", f"{first:.0f} requests a second on {os.cpu_count()} cores")
    for name, rate in zip(list(ways)[1:], others, strict=True):
        more_ms = statistics.median(alone[name]) - base_ms
        report(name, f"{rate / first:.2f} of it; one request alone {more_ms:+.1f} ms")
    server_ms, *haproxy_ms = (statistics.median(each) for each in needs.values())
    text = f"server {server_ms:.1f} ms, HAProxy {statistics.median(haproxy_ms):.2f} ms"
    report("processor time of a request", text)


@contextmanager
def _balancing(folder: Path, servers: list[str]) -> Iterator[tuple[str, int]]:
    """HAProxy with the configuration of docker/replicas: its base URL and its pid."""
    port = trio.run(free_port)
    own = folder / str(port)
    own.mkdir()
    _, command = haproxy(own, port, [url.removeprefix("http://") for url in servers])
    with (own / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        time.sleep(2)  # it listens at once, and has asked each server whether it is ready
        try:
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.kill()


def _ask(url: str) -> float:
    asked = streamed(url, "/v1/chat/completions", BODY, *CHAT_MARKS, session=str(next(SESSIONS)))
    if asked.deltas != 20:
        raise RuntimeError(f"{asked.deltas} of 20 deltas came")
    return asked.total_s


def _rate(url: str) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_ask, [url] * REQUESTS))
    return REQUESTS / (time.perf_counter() - started)


def _alone_ms(url: str) -> float:
    return 1000 * statistics.median(_ask(url) for _ in range(ALONE))
