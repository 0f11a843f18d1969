"""What is the CLI backend's own; what must be the same for both backends is in the other files, run on both.

The bundled CLI, and shell programs in its place.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Hang, Reply, Text
from tests.http_client import texts
from tests.openai_schema import validate
from tests.real.call import Call, chat
from tests.real.command import running
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import LIMIT_S, Served, needs_claude, serving, until

pytestmark = needs_claude

ROOT = Path(__file__).parents[3]
LOOK: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "What is there?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "a tree"},
]

# The names of the modules that are loaded once the server has answered.
SERVE_ONE = """
import sys, tempfile, trio
from pathlib import Path
from tests.real.call import Call, chat
from tests.real.harness import serving

async def main():
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), backend="cli") as served, Call.open(served.url, chat("Hi")) as call:
            status, completion = await call.answer()
    print(status, completion["choices"][0]["message"]["content"])
    print(*{name.partition(".")[0] for name in sys.modules})

trio.run(main)
"""


@pytest.mark.long
def test_a_server_with_the_cli_backend_never_loads_the_sdk() -> None:
    command = [sys.executable, "-c", SERVE_ONE]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    said, modules = run.stdout.splitlines()
    assert said == "200 ok"
    assert {"claude_openai", "quart_trio", "claude_agent_sdk", "mcp"} & set(modules.split()) == {
        "claude_openai",
        "quart_trio",
    }


async def answer(served: Served, messages: Any, **fields: Any) -> tuple[int, dict[str, Any]]:
    async with Call.open(served.url, chat(messages, **fields)) as call:
        return await call.answer()


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_refused_with_the_backend_that_takes_them(tmp_path: Path, stream: bool) -> None:
    async with serving(tmp_path, backend="cli") as served:
        status, error = await answer(served, "Hi", tools=[LOOK], stream=stream)
        validate("ErrorResponse", error)
        assert (status, error["error"]["type"], error["error"]["param"]) == (400, "invalid_request_error", "tools")
        assert "--backend sdk" in error["error"]["message"]
        assert served.api.all_requests == []
        assert "process.start" not in await served.whole_log()


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_refused_at_once_while_all_slots_are_taken_and_make_no_run(
    tmp_path: Path, stream: bool
) -> None:
    reply, key = Reply(Text("one", Hang())), "control-key"
    settings: dict[str, Any] = {"control_key": key, "hold_status_ms": 0, "max_queue_size": 0}
    async with (
        serving(tmp_path, reply, backend="cli", max_concurrency=1, **settings) as served,
        Call.open(served.url, chat("Hi", stream=True)) as under_way,
    ):
        assert await under_way.status() == 200
        await under_way.until_text("one")
        status, error = await answer(served, "Hi", tools=[LOOK], stream=stream)
        assert (status, error["error"]["param"]) == (400, "tools")
        async with Call.open(served.url, None, "/control/runs", authorization=f"Bearer {key}") as call:
            _, runs = await call.answer(validated=False)
        assert [run["status"] for run in runs["data"]] == ["running"]


@pytest.mark.long
async def test_tools_that_claude_is_not_to_see_are_no_reason_to_refuse(tmp_path: Path) -> None:
    async with serving(tmp_path, backend="cli") as served:
        assert (await answer(served, "Hi", tools=[LOOK], tool_choice="none"))[0] == 200
        assert served.api.requests[0].tools == []


@pytest.mark.long
@pytest.mark.parametrize("after", [[], [{"role": "user", "content": "And there?"}]], ids=["at its end", "before"])
async def test_a_history_with_calls_and_results_is_sent_as_such(tmp_path: Path, after: list[dict[str, Any]]) -> None:
    async with serving(tmp_path, Reply("A bird."), backend="cli") as served:
        async with Call.open(served.url, chat([*CALLED, *after])) as call:
            status, completion = await call.answer()
        assert (status, completion["choices"][0]["message"]["content"]) == (200, "A bird.")
        assert call.headers["x-claude-openai-conversation"] == "replayed"
        (request,) = served.api.requests
        blocks = [
            block
            for message in request.messages
            if message["role"] != "system"
            for block in message["content"]
            if isinstance(block, dict)
        ]
        (use,) = (block for block in blocks if block["type"] == "tool_use")
        (result,) = (block for block in blocks if block["type"] == "tool_result")
        assert (use["input"], result["tool_use_id"]) == ({"at": "it"}, use["id"])
        assert "a tree" in str(result["content"])


@pytest.mark.long
async def test_the_effort_is_passed_on_and_each_turn_is_a_process_of_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path, backend="cli", max_idle_sessions=4, spares=1) as served:
        for effort in ("high", "minimal"):
            assert (await answer(served, "Hi", reasoning_effort=effort))[0] == 200
            await served.processes.wait_no_claude()
        assert [request.body["output_config"]["effort"] for request in served.api.requests] == ["high", "low"]
        assert (await served.whole_log()).count('"event":"process.start"') == 2


@pytest.mark.long
async def test_the_raw_frames_are_logged_at_trace_level(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply(Text("one")), backend="cli") as served:
        assert (await answer(served, "Hi"))[0] == 200
        written = await served.whole_log()
        for event in ("adapter.claude_args", "cli.write", "cli.message"):
            assert f'"event":"{event}"' in written


async def test_a_prompt_that_is_not_read_does_not_hold_the_turn(tmp_path: Path) -> None:
    command = fake_cli(tmp_path, "exec 0<&-; exec sleep 100")
    async with serving(tmp_path, backend="cli", claude_command=command) as served:
        status, error = await answer(served, "1 MB " * 200_000)
        assert (status, error["error"]["type"]) == (502, "upstream_error")
        assert "could not be started" in error["error"]["message"]


async def test_an_answer_that_comes_before_the_prompt_is_read_is_an_answer(tmp_path: Path) -> None:
    command = fake_cli(tmp_path, f"initialized\n{ANSWER.replace('asked', '')}cat > {tmp_path}/rest")
    async with serving(tmp_path, backend="cli", claude_command=command) as served:
        status, completion = await answer(served, "1 MB " * 200_000)
        assert (status, completion["choices"][0]["message"]["content"]) == (200, "one two")


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        pytest.param(
            'read -r line; say \'{"type":"control_response","response":{"subtype":"error","error":"no such field"}}\'',
            ["could not be started", "no such field"],
            id="refuses the first request",
        ),
        pytest.param('asked; say \'{"type":"result"}\'', ["'result'", "is_error"], id="writes a hollow record"),
    ],
)
async def test_a_claude_of_another_kind_is_an_upstream_error(tmp_path: Path, behaviour: str, says: list[str]) -> None:
    command = fake_cli(tmp_path, f"{behaviour}; sleep 100")
    async with serving(tmp_path, backend="cli", claude_command=command) as served:
        status, error = await answer(served, "Hi")
        assert (status, error["error"]["type"]) == (502, "upstream_error")
        assert all(words in error["error"]["message"] for words in says), error
        await until(lambda: '"sdk.error"' in served.log_text(), "it is in the log")
        (told,) = [json.loads(line) for line in served.log_text().splitlines() if '"sdk.error"' in line]
        assert (told["level"], told["kind"]) == ("warning", "not_started" if "could not" in says[0] else "broke_off")
        assert says[-1] in told["error"]
        assert error["error"]["message"].count(told["error"]) == 1


@pytest.mark.long
async def test_demo_works_and_the_command_names_the_backend(tmp_path: Path) -> None:
    async with running(tmp_path, "--demo", "--backend", "cli") as command:
        async with Call.open(command.url, chat("What is this?", stream=True)) as call:
            assert await call.status() == 200
            assert "".join(texts(await call.events())).startswith("[demo] ")
        assert command.api.all_requests == []
        assert "sdk" not in command.stderr()
