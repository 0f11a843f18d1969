"""Another client of the server that is attacked: `python -m tests.hostile.health HOST PORT`.

It asks for the health until its standard input ends, in a process of its own, so that it waits only for the
server; then it prints how long each answer took, in ms, as JSON.
"""

import json
import sys
import time
from typing import Final

import trio

from tests.hostile.client import Connection

INTERVAL_S: Final = 0.02


async def main(host: str, port: str) -> None:
    waits_ms: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, Connection(host, int(port)), waits_ms)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel(reason="its starter has enough")
    print(json.dumps(waits_ms))


async def ask(connection: Connection, waits_ms: list[float]) -> None:
    while True:
        began = time.perf_counter()
        answer = await connection.ask("GET", "/health")
        waits_ms.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200
        await trio.sleep(INTERVAL_S)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
