"""A prompt that was written to a process may be paid for, so it is never written to a second one, whatever happens.

A stand-in for `claude` notes each prompt that it reads and dies at each event of a turn; then the bundled CLI is killed
in its turns, and the calls that reach Claude's API are counted.
"""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.testing import Hang, Reply, Text, Thinking, ToolUse
from tests.real.call import Call, chat
from tests.real.fake_cli import fake_cli
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until
from tests.real.tool_turns import LIST, READ, results, use

pytestmark = needs_claude

# What a turn writes, event by event.
BEGIN = 'event \'{"type":"message_start","message":{"model":"fake","usage":{"input_tokens":1}}}\''
BLOCK = 'event \'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\''
STOP = 'event \'{"type":"content_block_stop","index":0}\''
END = 'event \'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\''
EVENTS = (BEGIN, BLOCK, "delta one", STOP, END, 'event \'{"type":"message_stop"}\'')
# It has read the prompt, which is noted.
READS = 'read -r line || exit 9\necho "$line" >> "$PROMPTS"\n'
DEATHS = {"is killed": "kill -KILL $$", "exits": "echo 'out of memory' >&2; exit 3"}


def dying(folder: Path, number: int, death: str, *, after: str = "") -> str:
    """A `claude` that dies after so many events of its turn."""
    events = "\n".join(EVENTS[:number])
    return fake_cli(folder, f"initialized\n{after}{READS}{events}\n{DEATHS[death]}")


def prompts(folder: Path) -> int:
    noted = folder / "prompts"
    return len(noted.read_text().splitlines()) if noted.exists() else 0


async def failure(served: Served, messages: Any = "Hi", **fields: Any) -> str:
    """The message of a turn that fails for good."""
    async with Call.open(served.url, chat(messages, **fields)) as call:
        status, answer = await call.answer()
    assert (status, answer["error"]["type"]) == (502, "upstream_error")
    return str(answer["error"]["message"])


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("number", range(len(EVENTS) + 1))
@on_both_backends
async def test_a_new_process_that_dies_after_any_event_was_asked_once_and_is_the_cause(
    tmp_path: Path, backend: str, number: int, death: str
) -> None:
    env = {"PROMPTS": str(tmp_path / "prompts")}
    command = dying(tmp_path, number, death)
    # With a spare on the SDK backend: it has waited, and another would be there soon.
    async with serving(tmp_path, claude_command=command, backend=backend, extra_env=env, spares=1) as served:
        if backend == "sdk":
            await until(lambda: '"process.start"' in served.log_text(), "there is a spare")
        message = await failure(served)
        assert prompts(tmp_path) == 1
    assert "exit status -9" in message if death == "is killed" else "exit status 3" in message
    assert death == "is killed" or "out of memory" in message


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(EVENTS) + 1))
async def test_a_kept_process_that_dies_after_any_event_was_asked_once_and_is_the_cause(
    tmp_path: Path, number: int
) -> None:
    env = {"PROMPTS": str(tmp_path / "prompts")}
    answer = f"{READS}begin\ndelta one\ndelta ' two'\nresult\n"
    command = dying(tmp_path, number, "is killed", after=answer)
    async with serving(tmp_path, claude_command=command, extra_env=env, max_idle_sessions=4) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            assert (await call.answer())[0] == 200
        more = [{"role": role, "content": text} for role, text in (("user", "Hi"), ("assistant", "one two"))]
        assert "exit status -9" in await failure(served, [*more, {"role": "user", "content": "And?"}])
        assert prompts(tmp_path) == 2
        # The log is written by a thread, which a busy machine may not have run yet.
        await until(lambda: '"way":"continued"' in served.log_text(), "the turn was a live one")


async def test_a_process_that_dies_before_its_prompt_is_replaced_once_and_by_a_new_one(tmp_path: Path) -> None:
    env = {"PROMPTS": str(tmp_path / "prompts")}
    command = fake_cli(tmp_path, "read -r line; echo 'no memory' >&2; exit 3")
    async with serving(tmp_path, claude_command=command, extra_env=env, spares=2) as served:
        await until(lambda: served.log_text().count('"process.start"') == 2, "there are two spares")
        message = await failure(served)
        assert "exit status 3" in message
        assert "no memory" in message
        assert (await served.whole_log()).count('"event":"conversation.replaced"') == 1
        assert prompts(tmp_path) == 0


def kill_all(served: Served) -> None:
    for pid in served.processes.marked():
        os.kill(pid, signal.SIGKILL)


ASKED = [{"role": "user", "content": "What is in /a?"}]
HALF_A_CALL = ToolUse("mcp__openai__read", id="toolu_9", fragments=['{"pa', Hang()])
# What Claude says before its process is killed, and what of it the server has heard by then. The stand-in above dies at
# every event; here it is shown that Claude's API has no more calls than prompts were written.
BEFORE = (Reply(before_headers=[Hang()]), '"status":"requesting"')
BEGUN = (Reply(Hang()), '"message_start"')
THINKS = (Reply(Thinking("so", Hang())), '"thinking_delta"')
TALKS = (Reply(Text("one", Hang())), '"text_delta"')
CALLS = (Reply(use(8), HALF_A_CALL), '"partial_json":"{\\"pa')
KILLED_AT = {"new": (BEFORE, TALKS), "continued": (BEFORE, THINKS), "parked": (BEFORE, CALLS), "replayed": (BEGUN,)}


async def begun(served: Served, way: str) -> list[dict[str, Any]]:
    """The messages of a request that goes this way."""
    if way == "new":
        return ASKED
    if way == "replayed":
        return [*ASKED, {"role": "assistant", "content": "Things."}, {"role": "user", "content": "And?"}]
    served.api.enqueue(Reply(use(1)) if way == "parked" else Reply("ok"))
    async with Call.open(served.url, chat(ASKED, tools=[READ, LIST])) as call:
        status, answer = await call.answer()
        assert status == 200, answer
    if way == "parked":
        return [*ASKED, *results(answer, "A")]
    return [*ASKED, answer["choices"][0]["message"], {"role": "user", "content": "And?"}]


async def kill_when_heard(served: Served, call: int, heard: str, *, more_than: int) -> None:
    await served.api.wait_for_request(call)
    await until(lambda: served.log_text().count(heard) > more_than, f"the server has heard {heard}")
    kill_all(served)


@pytest.mark.long
@pytest.mark.parametrize("way", KILLED_AT)
async def test_claude_is_called_once_by_a_turn_whose_process_is_killed(tmp_path: Path, way: str) -> None:
    spares = int(way in ("new", "replayed"))
    async with serving(tmp_path, max_idle_sessions=4, spares=spares) as served:
        for reply, heard in KILLED_AT[way]:
            messages = await begun(served, way)
            calls, before = len(served.api.requests), (await served.whole_log()).count(heard)
            served.api.enqueue(reply)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(kill_when_heard, served, calls + 1, heard, more_than=before))
                assert "exit status -9" in await failure(served, messages, tools=[READ, LIST])
            assert len(served.api.requests) == calls + 1
            assert f'"way":"{way}"' in await served.whole_log()
