"""Three servers behind HAProxy with the configuration of docker/replicas: what a client sees while they come and go."""

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest
import trio

from claude_openai.testing import MessagesApi
from tests.conditions import needs
from tests.real.balancers import balancing, free_port, haproxy
from tests.real.command import running
from tests.real.harness import LIMIT_S, needs_claude
from tests.real.redis_server import needs_redis, redis_serving
from tests.real.replica_traffic import Traffic, answer

pytestmark = [needs_claude, needs("haproxy"), pytest.mark.long]

REPLICAS: Final = ("a", "b", "c")

# Conversations, and the longest time that they may take: 200 took 7 minutes on two busy cores.
MANY: Final = int(os.environ.get("CLAUDE_OPENAI_TEST_CONVERSATIONS", "60"))
MANY_S: Final = 4 * LIMIT_S
FLAGS: Final = ("--spares", "0", "--max-idle-sessions", "6", "--max-concurrency", "4", "--lame-duck-ms", "12000")


async def test_no_turn_is_lost_or_paid_twice_while_replicas_and_the_balancer_end(tmp_path: Path) -> None:
    port = await free_port()
    traffic = Traffic(f"http://127.0.0.1:{port}", conversations=24, unsent=503)
    async with MessagesApi.serving(answer) as api, AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running(tmp_path / name, *FLAGS, "--replica", name, api=api))
            for name in REPLICAS
        ]
        addresses = [each.url.removeprefix("http://") for each in replicas]
        old = await stack.enter_async_context(balancing(haproxy, tmp_path, port, addresses))
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.converse)
                await traffic.reached(traffic.total * 4 // 10)
                assert set(traffic.replicas) == {*REPLICAS}
                traffic.moved = True
                replicas[0].send(signal.SIGKILL)
                await replicas[0].process.wait()
                await traffic.reached(traffic.total * 6 // 10)
                begun = sum(traffic.repeats.values())
                replicas[1].send(signal.SIGTERM)
                await replicas[1].process.wait()
                # Neither was a turn refused by the lame duck, nor was a running one broken.
                assert (sum(traffic.repeats.values()), traffic.refusals) == (begun, 0)
                reloaded = balancing(haproxy, tmp_path, port, addresses, "-sf", str(old.process.pid))
                await stack.enter_async_context(reloaded)
        assert replicas[1].process.returncode == 0
        traffic.check(api)


@needs_redis
async def test_every_conversation_goes_on_while_replicas_the_balancer_and_the_shared_store_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 32)
    port = await free_port()
    traffic = Traffic(f"http://127.0.0.1:{port}", MANY, kinds=("chat", "response", "item"), at_once=8, unsent=503)
    async with MessagesApi.serving(answer) as api, redis_serving(tmp_path) as redis, AsyncExitStack() as stack:
        shared = ("--state-url", redis.url, "--state-key-file", str(tmp_path / "key"))
        replicas = [
            await stack.enter_async_context(
                running(tmp_path / name, *FLAGS, *shared, "--replica", name, api=api, within_s=MANY_S)
            )
            for name in REPLICAS
        ]
        addresses = [each.url.removeprefix("http://") for each in replicas]
        old = await stack.enter_async_context(balancing(haproxy, tmp_path, port, addresses))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traffic.converse)
            await traffic.reached(traffic.total * 3 // 10)
            assert set(traffic.replicas) == {*REPLICAS}
            await redis.restart()
            # Until all conversations have had a turn since.
            await traffic.reached(traffic.answered + 3 * traffic.at_once)
            traffic.moved = True
            replicas[0].send(signal.SIGKILL)
            await replicas[0].process.wait()
            await traffic.reached(traffic.total * 6 // 10)
            replicas[1].send(signal.SIGTERM)
            await replicas[1].process.wait()
            reloaded = balancing(haproxy, tmp_path, port, addresses, "-sf", str(old.process.pid))
            await stack.enter_async_context(reloaded)
        assert replicas[1].process.returncode == 0
        traffic.check(api)
