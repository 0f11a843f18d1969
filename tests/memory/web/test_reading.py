"""The bodies of requests are read beside the event loop: nobody waits for another's."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio

from tests.memory.harness import chat, serving

T = TypeVar("T")


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/responses"])
async def test_while_a_body_is_read_others_are_answered(target: str) -> None:
    reading, read = trio.Event(), trio.Event()

    async def offload(work: Callable[[], T]) -> T:
        reading.set()
        await read.wait()
        return work()

    async with serving(offload=offload) as server:
        client = server.connect()
        await client.post({**chat(), "input": "Hi"}, target)
        await reading.wait()
        assert (await server.get("/health")).status == 200
        read.set()
        assert (await client.answer()).status == 200
        server.request_ids.clear()
