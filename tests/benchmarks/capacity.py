"""What a server needs for each conversation and each turn: the figures of `tests.capacity_table`. Linux only."""

import time
from pathlib import Path
from typing import Final

from .client import stream
from .process_figures import claudes, computed_ms, own_mb, proportional_mb
from .report import cpu_ms, report, server
from .servers import WORD

__all__ = ["capacity"]

CONVERSATIONS: Final = 10
TURNS: Final = 5
DELTAS: Final = 100
# Until processes started ahead wait, and do not compute any more.
REST_S: Final = 6.0
# Of a history, as an agent has after some turns.
PAGE: Final = "What a file says. " * 1000


def capacity(folder: Path) -> None:
    answered = {"role": "assistant", "content": WORD * DELTAS}
    histories = [
        [{"role": "user", "content": f"{number} {PAGE}"}, {"role": "assistant", "content": "Seen."}]
        for number in range(CONVERSATIONS)
    ]
    with server("stand_in") as (upstream, _), server("real", upstream, str(folder), "sdk", "100") as (url, pid):
        stream(url, f"say {DELTAS}")
        time.sleep(REST_S)
        before = computed_ms(pid)
        for history in histories:
            stream(url, f"say {DELTAS}", history=history)
        time.sleep(REST_S)
        replay_ms = (computed_ms(pid) - before) / CONVERSATIONS
        before, server_before = computed_ms(pid), cpu_ms(pid)
        for _ in range(TURNS):
            for history in histories:
                history += [{"role": "user", "content": f"say {DELTAS}"}, answered]
                stream(url, f"say {DELTAS}", history=history)
        live_ms = (computed_ms(pid) - before) / (TURNS * CONVERSATIONS)
        server_ms = (cpu_ms(pid) - server_before) / (TURNS * CONVERSATIONS)
        kept = claudes(pid)
        own = [own_mb(one) for one in kept]
        shared = sum(proportional_mb(one) for one in kept) - sum(own)
        report("the server", f"{proportional_mb(pid):.0f} MB")
    report(f"{len(kept)} claude processes", f"{sum(own) / len(own):.0f} MB each of their own, {shared:.0f} MB shared")
    text = f"{live_ms:.0f} ms, {server_ms:.0f} ms of it the server's"
    report(f"processor time of a live turn of {DELTAS} deltas", text)
    report("the same, as a replay", f"{replay_ms:.0f} ms")
