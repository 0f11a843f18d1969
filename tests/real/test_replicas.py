"""Three servers behind HAProxy with the configuration of docker/replicas: what a client sees while they come and go."""

import json
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from claude_openai.standin.script import Answer
from claude_openai.testing import MessagesApi, RecordedRequest, Reply, ToolUse
from claude_openai.web.http.affinity import AFFINITY_HEADERS
from tests.conditions import HAPROXY, needs
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.harness import LIMIT_S, needs_claude, until
from tests.real.tool_turns import READ, results, upstream

pytestmark = [needs_claude, needs("haproxy"), pytest.mark.long]

CONFIG: Final = Path(__file__).parents[2] / "docker" / "replicas" / "haproxy.cfg"
CONVERSATIONS: Final = 24
AT_ONCE: Final = 5
# Of each conversation: two calls of a tool, an answer, and the answer to a second question.
TURNS: Final = 4
LIVE: Final = frozenset({"parked", "continued", "rewound"})
FLAGS: Final = ("--spares", "0", "--max-idle-sessions", "6", "--max-concurrency", "4", "--lame-duck-ms", "6000")


def question(number: int, turn: int) -> str:
    return f"conversation {number}, question {1 if turn < TURNS - 1 else 2}"


def place_of(request: RecordedRequest) -> tuple[int, int]:
    """The conversation and the turn that Claude is asked for."""
    said = upstream(request)
    (number,) = {int(found) for found in re.findall(r"conversation (\d+)", str(said))}
    return number, sum(1 for role, _ in said if role == "user") - 1


def answer(request: RecordedRequest) -> Answer:
    number, turn = place_of(request)
    if turn < 2:
        return Reply(ToolUse("mcp__openai__read", {"path": f"/{number}/{turn}"}, f"toolu_{number}_{turn}"))
    return Reply(f"{number}: answer {turn}")


@dataclass
class Traffic:
    """The clients, and what they saw.

    Attributes:
        ways: of the turns before `moved`: number within the conversation, and route.
        repeats: how often a client had to repeat a turn of which it cannot know whether it was begun.
        refusals: how often a server refused a turn and says that it was not begun.
        replicas: of the turns, by the header.
        answered: the number of turns.
        moved: whether the first replica has ended.
    """

    url: str
    ways: list[tuple[int, str]] = field(default_factory=list)
    repeats: Counter[tuple[int, int]] = field(default_factory=Counter)
    refusals: int = 0
    replicas: list[str] = field(default_factory=list)
    answered: int = 0
    moved: bool = False

    async def converse(self, number: int) -> None:
        messages: list[dict[str, Any]] = [{"role": "user", "content": question(number, 0)}]
        for turn in range(TURNS):
            found = await self._turn(number, turn, messages)
            message = found["choices"][0]["message"]
            if turn < 2:
                (call,) = message["tool_calls"]
                assert json.loads(call["function"]["arguments"]) == {"path": f"/{number}/{turn}"}
                messages += results(found, f"content of /{number}/{turn}")
            else:
                assert message["content"] == f"{number}: answer {turn}"
                messages += [{"role": "assistant", "content": message["content"]}]
                messages += [{"role": "user", "content": question(number, TURNS - 1)}]

    async def _turn(self, number: int, turn: int, messages: list[dict[str, Any]]) -> dict[str, Any]:
        header = AFFINITY_HEADERS[number % len(AFFINITY_HEADERS)].replace("-", "_")
        while True:
            try:
                async with Call.open(self.url, chat(messages, tools=[READ]), **{header: f"session {number}"}) as call:
                    status = await call.status()
                    body = json.loads(await call.body()) if status == 200 else {}
            except (OSError, trio.BrokenResourceError):  # the balancer restarts
                status, body = 0, {}
            if status == 200:
                self.answered += 1
                self.replicas.append(call.headers["x-claude-openai-replica"])
                if not self.moved:
                    self.ways.append((turn, call.headers["x-claude-openai-conversation"]))
                return body
            assert status in (0, 502, 503), body
            is_from_replica = bool(status) and "x-claude-openai-replica" in call.headers
            if is_from_replica and call.headers.get("x-claude-openai-started") == "no":
                self.refusals += 1
            elif status != 503 or is_from_replica:  # HAProxy's own 503 says that it has sent the request to none
                self.repeats[number, turn] += 1
            await trio.sleep(0.2)

    async def reached(self, count: int) -> None:
        await until(lambda: self.answered >= count, f"{count} turns are answered", LIMIT_S)


@asynccontextmanager
async def balancer(folder: Path, replicas: list[Command], port: int, *flags: str) -> AsyncIterator[trio.Process]:
    """HAProxy, listening."""
    lines = [f"    server replica{i} {each.url.removeprefix('http://')}" for i, each in enumerate(replicas, 1)]
    text = re.sub(r"^ +server-template .*$", "\n".join(lines), CONFIG.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^resolvers docker\n(?: .*\n)*", "", text, flags=re.MULTILINE)
    path = folder / "haproxy.cfg"
    path.write_text(text.replace("bind :8000", f"bind 127.0.0.1:{port}"))
    assert HAPROXY is not None
    with (folder / "haproxy.log").open("ab") as log:
        process = await trio.lowlevel.open_process(
            [HAPROXY, "-db", "-f", str(path), *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        await until(lambda: accepts(port), "the balancer listens")
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


async def test_no_turn_is_lost_or_paid_twice_while_replicas_and_the_balancer_end(tmp_path: Path) -> None:
    port = await free_port()
    traffic = Traffic(f"http://127.0.0.1:{port}")
    async with MessagesApi.serving(answer) as api, AsyncExitStack() as stack:
        replicas: list[Command] = []
        for name in ("a", "b", "c"):
            started = running(tmp_path / name, *FLAGS, "--replica", name, api=api)
            replicas.append(await stack.enter_async_context(started))
        old = await stack.enter_async_context(balancer(tmp_path, replicas, port))
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                numbers = iter(range(CONVERSATIONS))

                async def work() -> None:
                    for number in numbers:
                        await traffic.converse(number)

                for _ in range(AT_ONCE):
                    nursery.start_soon(work)
                total = CONVERSATIONS * TURNS
                await traffic.reached(total * 4 // 10)
                assert set(traffic.replicas) == {"a", "b", "c"}
                traffic.moved = True
                replicas[0].send(signal.SIGKILL)
                await replicas[0].process.wait()
                await traffic.reached(total * 6 // 10)
                begun = sum(traffic.repeats.values())
                replicas[1].send(signal.SIGTERM)
                await replicas[1].process.wait()
                # Neither was a turn refused by the lame duck, nor was a running one broken.
                assert (sum(traffic.repeats.values()), traffic.refusals) == (begun, 0)
                await stack.enter_async_context(balancer(tmp_path, replicas, port, "-sf", str(old.pid)))
        assert traffic.answered == total
        assert replicas[1].process.returncode == 0
        follow_ups = [way for turn, way in traffic.ways if turn > 0]
        assert sum(way in LIVE for way in follow_ups) >= 0.95 * len(follow_ups), follow_ups
        paid = Counter(map(place_of, api.requests))
        assert set(paid) == {(number, turn) for number in range(CONVERSATIONS) for turn in range(TURNS)}
        assert [place for place, times in paid.items() if times > 1 + traffic.repeats[place]] == []
        assert sum(traffic.repeats.values()) <= AT_ONCE
        assert api.refused == []
