"""Three servers behind HAProxy with the configuration of docker/replicas: what a client sees while they come and go."""

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
from tests.real.replica_traffic import Traffic, answer

pytestmark = [needs_claude, needs("haproxy"), pytest.mark.long]

FLAGS: Final = ("--spares", "0", "--max-idle-sessions", "6", "--max-concurrency", "4", "--lame-duck-ms", "6000")


async def test_no_turn_is_lost_or_paid_twice_while_replicas_and_the_balancer_end(tmp_path: Path) -> None:
    port = await free_port()
    traffic = Traffic(f"http://127.0.0.1:{port}", conversations=24, unsent=503)
    async with MessagesApi.serving(answer) as api, AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running(tmp_path / name, *FLAGS, "--replica", name, api=api))
            for name in ("a", "b", "c")
        ]
        addresses = [each.url.removeprefix("http://") for each in replicas]
        old = await stack.enter_async_context(balancing(haproxy, tmp_path, port, addresses))
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.converse)
                await traffic.reached(traffic.total * 4 // 10)
                assert set(traffic.replicas) == {"a", "b", "c"}
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
