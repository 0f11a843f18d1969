"""A `claude` that misbehaves: the client gets an error in time, and nothing of its process group is left.

Small shell programs take the CLI's place through `claude_command`; processes, pipes and signals are real.
"""

import os
import select
from pathlib import Path

import pytest
import trio

from claude_openai import Config, serve
from claude_openai.claude.process.guardian import Started
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.errors import ConfigError
from tests.conditions import needs
from tests.http_client import texts
from tests.openai_schema import validate
from tests.real.call import Call, chat
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import LIMIT_S, needs_claude, on_both_backends, serving

pytestmark = needs_claude

FOREVER = "while :; do sleep 100; done\n"
STUBBORN = f"trap '' TERM INT HUP\n{FOREVER}"


@on_both_backends
async def test_the_fake_can_answer_at_all(tmp_path: Path, backend: str) -> None:
    command = fake_cli(tmp_path, ANSWER)
    async with (
        serving(tmp_path, claude_command=command, backend=backend) as served,
        Call.open(served.url, chat("Hi", stream=True)) as call,
    ):
        assert await call.status() == 200
        events = await call.events()
        assert texts(events) == ["one", " two"]
        assert events[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        pytest.param("echo 'no room on the moon' >&2; exit 3", ["exit status 3", "no room on the moon"], id="exits"),
        pytest.param("initialized; kill -KILL $$", ["exit status -9"], id="is killed"),
        pytest.param("exit 0", ["exit status 0"], id="exits as if all were well"),
        pytest.param("asked; exit 0", ["exit status 0"], id="exits when asked"),
        pytest.param("asked; echo garbage; echo; echo '[1]'", ["exit status 0"], id="prints garbage alone"),
        pytest.param("asked; echo '{\"type\": broken'", ["broken"], id="prints broken JSON"),
        pytest.param("asked; exec sleep 100 >&-", ["closed its output"], id="closes its output and stays"),
        pytest.param("asked; head -c 70000000 /dev/zero | tr '\\0' x", ["line of more than"], id="never ends a line"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@on_both_backends
async def test_a_claude_that_fails_at_once_is_an_upstream_error_with_its_last_words(
    tmp_path: Path, backend: str, behaviour: str, says: list[str], stream: bool
) -> None:
    async with serving(tmp_path, claude_command=fake_cli(tmp_path, behaviour), backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=stream)) as call:
            status, error = await call.answer()
        assert (status, error["error"]["type"]) == (502, "upstream_error")
        validate("ErrorResponse", error)
        assert all(words in error["error"]["message"] for words in says), error
        await served.processes.wait_no_claude()


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param("exit 1", id="exits"),
        pytest.param("kill -SEGV $$", id="crashes"),
        pytest.param("echo '{\"type\": broken'; sleep 100", id="prints broken JSON"),
        pytest.param("sleep 100 & exit 0", id="leaves a child that holds its pipes"),
        pytest.param(f"({STUBBORN}) & exit 0", id="leaves a child that ignores signals"),
    ],
)
@on_both_backends
async def test_a_claude_that_fails_in_its_answer_ends_the_stream_with_an_error(
    tmp_path: Path, backend: str, behaviour: str
) -> None:
    command = fake_cli(tmp_path, f"asked; begin; delta one; {behaviour}")
    async with serving(tmp_path, claude_command=command, backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            _, said, error, done = await call.events()
        assert texts([said]) == ["one"]
        assert isinstance(error, dict)
        assert error["error"]["type"] == "upstream_error"
        assert done == "[DONE]"
        await served.processes.wait_no_claude()


@needs("setsid")
@on_both_backends
async def test_a_child_in_a_session_of_its_own_that_has_the_pipes_cannot_hold_the_answer(
    tmp_path: Path, backend: str
) -> None:
    command = fake_cli(tmp_path, "asked; begin; delta one; setsid sleep 100 & sleep 0.2; exit 0")
    async with serving(tmp_path, claude_command=command, backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            assert (await call.events())[-1] == "[DONE]"
        await served.processes.wait_no_claude()


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("echo garbage\n", id="on its output"),
        pytest.param("head -c 5000000 /dev/zero | tr '\\0' x >&2\n", id="on standard error"),
    ],
)
@on_both_backends
async def test_noise_harms_no_answer(tmp_path: Path, backend: str, before: str) -> None:
    command = fake_cli(tmp_path, before + ANSWER.replace("\n", f"\n{before}", 4))
    async with serving(tmp_path, claude_command=command, log_level="info", backend=backend) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            status, completion = await call.answer()
        assert (status, completion["choices"][0]["message"]["content"]) == (200, "one two")


@pytest.mark.long
@pytest.mark.parametrize("behaviour", [FOREVER, f"initialized\n{FOREVER}", f"asked\n{STUBBORN}"])
@on_both_backends
async def test_silent_claude_is_stopped_at_the_time_limit(tmp_path: Path, backend: str, behaviour: str) -> None:
    command = fake_cli(tmp_path, behaviour)
    async with serving(tmp_path, claude_command=command, process_timeout_ms=300, backend=backend) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            status, error = await call.answer()
        assert (status, error["error"]["type"], error["error"]["code"]) == (504, "timeout_error", "timeout")
        assert "no sign of life for 0.3 s" in error["error"]["message"]
        assert call.headers["x-should-retry"] == "false"
        await served.processes.wait_no_claude()


HEARTBEAT = '{"type":"tool_progress","tool_use_id":"t-heartbeat-0","tool_name":"Bash","heartbeat":true}'


@pytest.mark.long
@on_both_backends
async def test_a_timer_in_claude_code_does_not_keep_a_turn_alive(tmp_path: Path, backend: str) -> None:
    command = fake_cli(tmp_path, f"asked; begin; while :; do say '{HEARTBEAT}'; sleep 0.1; done")
    async with serving(tmp_path, claude_command=command, process_timeout_ms=1000, backend=backend) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            status, error = await call.answer()
        assert (status, error["error"]["code"]) == (504, "timeout")


@pytest.mark.long
@on_both_backends
async def test_turn_timeout_stops_a_turn_that_still_works(tmp_path: Path, backend: str) -> None:
    command = fake_cli(tmp_path, "asked; begin; while :; do delta x; sleep 0.1; done")
    async with serving(tmp_path, claude_command=command, turn_timeout_ms=1_500, backend=backend) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            status, error = await call.answer()
        assert (status, error["error"]["code"]) == (504, "turn_timeout")
        assert "longer than 1.5 s (--turn-timeout-ms)" in error["error"]["message"]
        await served.processes.wait_no_claude()


@pytest.mark.long
@on_both_backends
async def test_the_time_limit_in_a_stream_is_an_error_event(tmp_path: Path, backend: str) -> None:
    command = fake_cli(tmp_path, f"asked; begin; delta one; {FOREVER}")
    async with serving(tmp_path, claude_command=command, process_timeout_ms=1000, backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            error, done = await call.events()
        assert isinstance(error, dict)
        assert (error["error"]["type"], done) == ("timeout_error", "[DONE]")


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(FOREVER, id="goes on when its input ends"),
        pytest.param(STUBBORN, id="ignores signals too"),
        pytest.param(f"({STUBBORN}) & {FOREVER}", id="has a child that ignores signals"),
        pytest.param(f"({STUBBORN}) & trap 'exit 0' TERM; {FOREVER}", id="leaves such a child behind"),
    ],
)
@on_both_backends
async def test_nothing_is_left_when_the_client_leaves_a_claude_that(
    tmp_path: Path, backend: str, behaviour: str
) -> None:
    command = fake_cli(tmp_path, f"asked; begin; delta one; {behaviour}")
    async with serving(
        tmp_path, claude_command=command, max_concurrency=1, max_queue_size=1, backend=backend
    ) as served:
        for _ in range(2):
            async with Call.open(served.url, chat("Hi", stream=True)) as call:
                assert await call.status() == 200
                await call.until_text("one")
                call.leave()
        await served.processes.wait_no_claude()


@on_both_backends
async def test_a_claude_in_the_middle_of_its_turn_is_killed_before_its_input_ends(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs_ended: list[bool] = []
    gone: list[bool] = []
    kill, close = SupervisedProcess.kill, Started.close

    def checked_kill(process: SupervisedProcess) -> None:
        inputs_ended.append(_has_no_writer(Path(f"/proc/{process.pid}/fd/0")))
        kill(process)

    def checked_close(started: Started) -> None:
        gone.append(not Path(f"/proc/{started.pid}").exists())
        close(started)

    monkeypatch.setattr(SupervisedProcess, "kill", checked_kill)
    monkeypatch.setattr(Started, "close", checked_close)
    command = fake_cli(tmp_path, f"asked; begin; delta one; {FOREVER}")
    async with serving(tmp_path, claude_command=command, backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            call.leave()
        await served.processes.wait_no_claude()
    assert (inputs_ended, gone) == ([False], [True])


def _has_no_writer(pipe: Path) -> bool:
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(descriptor)
        return any(event & select.POLLHUP for _, event in poll.poll(0))
    finally:
        os.close(descriptor)


@pytest.mark.long
@on_both_backends
async def test_an_answer_is_complete_though_its_claude_does_not_leave(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, claude_command=fake_cli(tmp_path, ANSWER + STUBBORN), backend=backend) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            assert (await call.answer())[0] == 200
        await served.processes.wait_no_claude()


@on_both_backends
async def test_program_that_cannot_start_is_an_error_for_the_client(tmp_path: Path, backend: str) -> None:
    command = tmp_path / "fake-claude"
    fake_cli(tmp_path, ANSWER)
    async with serving(tmp_path, claude_command=str(command), backend=backend) as served:
        command.write_text("#!/nowhere/at/all\n")
        async with Call.open(served.url, chat("Hi")) as call:
            status, error = await call.answer()
        assert (status, error["error"]["type"]) == (502, "upstream_error")
        assert "could not be started" in error["error"]["message"]


@pytest.mark.parametrize("kind", ["missing", "not executable", "a folder"])
async def test_a_command_that_is_no_program_is_a_config_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "claude"
    if kind == "not executable":
        path.write_text("#!/bin/sh\n")
    elif kind == "a folder":
        path.mkdir()
    with trio.fail_after(LIMIT_S), pytest.raises(ConfigError, match="--claude-command"):
        await serve(Config(port=0, claude_command=str(path), log=False))
