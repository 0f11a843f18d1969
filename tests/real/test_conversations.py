"""Whatever clients do in whatever order, Claude is sent exactly the history that the request has, in one call.

The sequences are generated: several clients, tool loops, regenerations, edits, abandoned tool turns, dead processes,
evictions, requests that come twice, requests at the same time, and new servers in the place of the old.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, serving
from tests.real.test_tools import READ, results, upstream

pytestmark = needs_claude

CONTINUE = "Continue from where you left off."
CLIENTS = 3
RESTART = "restart"
SETTINGS: dict[str, Any] = {"spares": 1, "max_idle_sessions": 2, "max_concurrency": 2}

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "say", "call", "call", "regenerate", "edit", "abandon", "twice", "kill", "both", RESTART]
        ),
        st.integers(0, CLIENTS - 1),
    ),
    min_size=4,
    max_size=10,
)


@dataclass
class Client:
    """One client: its conversation, and the number of upstream calls that it should have caused."""

    name: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def user(self, text: str) -> None:
        self.messages.append({"role": "user", "content": f"{self.name} {next(self.numbers)} {text}"})

    def drop_open_calls(self) -> None:
        """Forget a last answer that asks for tools."""
        while self.messages and self.messages[-1]["role"] != "user":
            self.messages.pop()
        if self.messages:
            self.messages.pop()

    def expected(self) -> list[tuple[str, Any]]:
        return [(role, list(blocks)) for role, blocks in _turns(self.messages)]


def _turns(messages: list[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    turns: list[tuple[str, list[Any]]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        if message["role"] == "tool":
            turns[-1][1].append((message["tool_call_id"], message["content"]))
        elif message["content"]:
            turns[-1][1].append(message["content"])
        for call in message.get("tool_calls", ()):
            turns[-1][1].append((call["id"], "mcp__openai__read", {"path": call["id"]}))
    return turns


def script(ids: Iterator[int]) -> Any:
    def reply(request: RecordedRequest) -> Reply:
        role, said = upstream(request)[-1]
        asked = said[0] if isinstance(said[0], str) else ""
        assert role == "user"
        if asked.endswith(" call"):
            uses = [ToolUse(f"toolu_{n}", "mcp__openai__read", {"path": f"toolu_{n}"}) for n in (next(ids), next(ids))]
            return Reply("Calling.", *uses)
        return Reply(f"answer {next(ids)}")

    return reply


async def send(served: Served, client: Client) -> None:
    """Send the conversation, check what Claude was sent, and take the answer into it."""
    before = len(served.api.requests)
    async with Call.open(served.url, chat(client.messages, tools=[READ], user=client.name)) as call:
        status, answer = await call.answer()
    assert status == 200, answer
    mine = [r for r in served.api.requests[before:] if client.name in str(r.messages)]
    assert len(mine) == 1
    sent = upstream(mine[0])
    if sent[-1][1][-1] == CONTINUE:
        assert call.headers["x-claude-openai-conversation"] == "replayed"
        sent[-1][1].pop()
    assert sent == client.expected()
    message = answer["choices"][0]["message"]
    if answer["choices"][0]["finish_reason"] == "tool_calls":
        client.messages += results(answer, *[f"result of {c['id']}" for c in message["tool_calls"]])
    else:
        client.messages.append({"role": "assistant", "content": message["content"]})


async def act(served: Served, clients: list[Client], step: str, which: int) -> None:
    client = clients[which]
    waits_for_results = bool(client.messages) and client.messages[-1]["role"] == "tool"
    match step:
        case "kill":
            for pid in served.processes.marked():
                os.kill(pid, signal.SIGKILL)
            return
        case "both":
            async with trio.open_nursery() as nursery:
                for each in (client, clients[(which + 1) % CLIENTS]):
                    if not each.messages or each.messages[-1]["role"] != "tool":
                        each.user("say")
                    nursery.start_soon(send, served, each)
            return
        case "twice" if waits_for_results:
            before = list(client.messages)
            await send(served, client)
            client.messages = before
        case "abandon" if waits_for_results:
            client.drop_open_calls()
            client.user("say")
        case "regenerate" if client.messages and not waits_for_results:
            client.messages.pop()
        case "edit" if client.messages and not waits_for_results:
            del client.messages[1:]
            client.messages[0] = {"role": "user", "content": f"{client.name} {next(client.numbers)} edited"}
        case _ if not waits_for_results:
            client.user("call" if step == "call" else "say")
    await send(served, client)


@given(steps)
@example([("call", 0), ("twice", 0), (RESTART, 0), ("call", 0), ("both", 0), ("kill", 0), ("say", 0), ("say", 2)])
@settings(max_examples=5, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
def test_claude_is_sent_the_history_of_the_request_and_nothing_else(
    tmp_path_factory: Any, sequence: list[tuple[str, int]]
) -> None:
    async def run() -> None:
        folder: Path = tmp_path_factory.mktemp("conversations")
        clients, ids, steps_left = [Client(f"client-{name}") for name in "abc"], itertools.count(1), iter(sequence)
        for _ in range(1 + [step for step, _ in sequence].count(RESTART)):
            async with serving(folder, script(ids), **SETTINGS) as served:
                for step, which in itertools.takewhile(lambda pair: pair[0] != RESTART, steps_left):
                    await act(served, clients, step, which)
            assert served.most_processes() <= sum(SETTINGS.values())
            served.log_file.unlink()

    trio.run(run)
