"""A state store in memory, which several servers of a test share, and which may fail or hang."""

import math
from collections.abc import Mapping, Sequence

import trio

from claude_openai.state.store import ACCESS_S, StateError

__all__ = ["StateInMemory"]


class StateInMemory:
    """A `StateStore`.

    Attributes:
        values: what is stored.
        problem: why every access fails; "" if they succeed.
        takes_s: how long each access takes.
        max_bytes: the size of values that are stored at once.
        gets: the names of each `get`.
    """

    refresh_s = ACCESS_S

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.problem = ""
        self.takes_s = 0.0
        self.max_bytes = math.inf
        self.gets: list[list[str]] = []

    async def put(self, values: Mapping[str, bytes], kept_s: float) -> bool:
        await self._access()
        is_small = sum(map(len, values.values())) <= self.max_bytes
        if is_small:
            self.values |= values
        return is_small

    async def get(self, names: Sequence[str], kept_s: float) -> list[bytes | None]:
        self.gets.append(list(names))
        found = [self.values.get(name) for name in names]
        await self._access()
        return found

    async def delete(self, names: Sequence[str]) -> int:
        await self._access()
        return sum(self.values.pop(name, None) is not None for name in names)

    async def clear(self) -> int:
        await self._access()
        count = len(self.values)
        self.values.clear()
        return count

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()

    async def _access(self) -> None:
        await trio.sleep(self.takes_s)
        if self.problem:
            raise StateError("the store", self.problem)
