"""How many replicas, machines and tokens so many developers need: measured figures, assumptions, and the formulas.

The measured figures are those of `python -m tests.benchmarks capacity`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Need", "capacity_table", "memory_mb", "need_of"]

# Measured.
SERVER_MB: Final = 80
PROGRAM_MB: Final = 55
CLAUDE_MB: Final = 116
LIVE_MS: Final = 200
REPLAY_MS: Final = 1200
SPARES: Final = 3

# Assumed.
AT_WORK: Final = 1 / 3
AGENTS: Final = 1.5
TURN_S: Final = 15
TOOLS_S: Final = 5
KEPT: Final = 2
REPLAYED: Final = 0.05
PROMPT_TOKENS: Final = 60_000
ANSWER_TOKENS: Final = 500
MACHINE_MB: Final = 64_000
MACHINE_CORES: Final = 16
USED: Final = 0.75


@dataclass(frozen=True, slots=True)
class Need:
    """What developers need at their busiest time.

    Attributes:
        running: turns at the same time.
        kept: conversations open between turns.
        rate: turns a second.
        memory_mb: of all replicas.
        cores: busy ones.
        machines: each with one replica, one more than memory and cores take, and two at least.
    """

    running: int
    kept: int
    rate: float
    memory_mb: float
    cores: float
    machines: int

    @property
    def tokens(self) -> tuple[float, float]:
        """Of prompts and of answers, a minute."""
        return 60 * self.rate * PROMPT_TOKENS, 60 * self.rate * ANSWER_TOKENS


def memory_mb(running: int, kept: int, spares: int = SPARES) -> int:
    """Of one replica."""
    return SERVER_MB + PROGRAM_MB + (running + kept + spares) * CLAUDE_MB


def need_of(developers: int) -> Need:
    agents = developers * AT_WORK * AGENTS
    running = math.ceil(agents * TURN_S / (TURN_S + TOOLS_S))
    kept = math.ceil(agents - running + developers * KEPT)
    rate = agents / (TURN_S + TOOLS_S)
    cores = rate * (REPLAYED * REPLAY_MS + (1 - REPLAYED) * LIVE_MS) / 1000
    memory = memory_mb(running, kept)
    machines = math.ceil(max(memory / MACHINE_MB, cores / MACHINE_CORES) / USED)
    return Need(running, kept, rate, memory, cores, max(machines + 1, 2))


def capacity_table() -> Iterator[str]:
    yield "| Developers | Turns at once | Kept open | Turns a second | Memory | Cores | Machines | Tokens a minute |"
    yield "|---|---|---|---|---|---|---|---|"
    for developers in (10, 100, 1000):
        need = need_of(developers)
        read, written = (_short(count) for count in need.tokens)
        yield (
            f"| {developers:,} | {need.running} | {need.kept:,} | {need.rate:.2g} | {need.memory_mb / 1000:.0f} GB "
            f"| {need.cores:.1g} | {need.machines} | {read} read, {written} written |"
        )


def _short(count: float) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count / 1000:.0f} thousand"
