"""Measures how much more a turn costs if its response is also stored in a file or in Redis.

The backend costs nothing. Each turn continues the response of the previous turn. The stores are measured one after the
other in one run, and compared with the memory alone.
"""

import http.client
import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from tests.conditions import lacks
from tests.real.redis_server import redis_serving

from .report import cpu_ms, report, server

__all__ = ["shared_store"]

ROUNDS: Final = 5
CONVERSATIONS: Final = 10
TURNS: Final = 10
# The input of each turn.
PROMPT: Final = "What a file says. " * 200 + "say 200"


def shared_store(folder: Path) -> None:
    if why := lacks("redis-server"):
        report("a shared store", f"not measured: {why}")
        return
    trio.run(_measured, folder)


async def _measured(folder: Path) -> None:
    async with redis_serving(folder) as redis:
        stores = {
            "in memory": (),
            "also in a file": ("", str(folder / "responses.db")),
            "also in Redis": ("", "", redis.url),
            "also in Redis, encrypted": ("", "", redis.url, "k" * 32),
        }
        await trio.to_thread.run_sync(_compare, stores)


def _compare(stores: dict[str, tuple[str, ...]]) -> None:
    times: dict[str, list[float]] = {name: [] for name in stores}
    needs: dict[str, list[float]] = {name: [] for name in stores}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(server("scripted", *arguments)) for name, arguments in stores.items()}
        for url, _ in servers.values():
            _conversation(url)
        for _ in range(ROUNDS):
            for name, (url, pid) in servers.items():
                before = cpu_ms(pid)
                for _ in range(CONVERSATIONS):
                    times[name] += _conversation(url)
                needs[name].append((cpu_ms(pid) - before) / (CONVERSATIONS * TURNS))
    base_ms, base_cpu_ms = (statistics.median(found["in memory"]) for found in (times, needs))
    report("a turn whose response is stored in memory", f"{base_ms:.1f} ms, {base_cpu_ms:.1f} ms of a processor")
    for name in list(stores)[1:]:
        more_ms, more_cpu_ms = statistics.median(times[name]) - base_ms, statistics.median(needs[name]) - base_cpu_ms
        text = (
            f"{more_ms:+.1f} ms ({statistics.median(times[name]) / base_ms:.2f}), {more_cpu_ms:+.1f} ms of a processor"
        )
        report(name, text)


def _conversation(url: str) -> list[float]:
    """Have a conversation; return the milliseconds of each turn."""
    previous: str | None = None
    found = []
    for _ in range(TURNS):
        started = time.perf_counter()
        previous = _ask(url, previous)
        found.append(1000 * (time.perf_counter() - started))
    return found


def _ask(url: str, previous: str | None) -> str:
    """Continue a response; return the id of the next one."""
    body = {"model": "claude", "input": PROMPT, "previous_response_id": previous}
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("POST", "/v1/responses", json.dumps(body), {"content-type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if answer.get("status") != "completed":
        raise RuntimeError(f"expected a response: {answer}")
    return str(answer["id"])
