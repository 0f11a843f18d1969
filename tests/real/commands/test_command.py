"""The command line: how it starts, what it says, how it refuses, how it stops."""

import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

import claude_openai
from claude_openai import __version__
from claude_openai.commands.instance.record import find_instance
from claude_openai.testing import AUTHENTICATION_ERROR, Hang, Pause, Reply, Text
from tests.conditions import needs
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.command import MODULE, SCRIPT, refused, running
from tests.real.harness import needs_claude, until

pytestmark = needs_claude

installed = needs("console-script")
OUTPUT = (".claude-openai", "output")
ALONE = ("--spares", "0")
STOPS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize(
    "program", [pytest.param(MODULE, id="python -m"), pytest.param(SCRIPT, id="claude-openai", marks=installed)]
)
async def test_server_prints_its_url_answers_and_stops(tmp_path: Path, program: Sequence[str]) -> None:
    async with running(tmp_path, program=program, reply=Reply("from the stand-in")) as command:
        assert command.stderr() == f"claude-openai {__version__} listening on {command.url} (sdk backend)\n"
        async with Call.open(command.url, None, "/health") as call:
            status, health = await call.answer()
        assert (status, health["status"], health["claude"]["found"]) == (200, "ok", True)
        assert health["confined"] is not bool(health.get("confined_reason"))
        async with Call.open(command.url, chat("Hi")) as call:
            status, completion = await call.answer()
        assert (status, completion["choices"][0]["message"]["content"]) == (200, "from the stand-in")
        command.send(signal.SIGTERM)
        assert await command.process.wait() == 0
        await command.left_nothing()


@pytest.mark.long
async def test_the_demo_needs_no_account_and_touches_no_home(tmp_path: Path) -> None:
    env = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "users-own"}
    async with running(tmp_path, "--demo", env=env) as command:
        assert "no Claude account is used" in command.stderr()
        async with Call.open(command.url, chat("What is this?", stream=True)) as call:
            assert await call.status() == 200
            answer = "".join(texts(await call.events()))
        assert answer.startswith("[demo] ")
        assert "You said: What is this?" in answer
        assert command.api.all_requests == []
        assert [path.relative_to(command.home).parts[:2] for path in command.home.rglob("*.ndjson")] == [OUTPUT]
        assert list(command.home.iterdir()) == [command.home / OUTPUT[0]]
        assert not command.config.exists()


@pytest.mark.parametrize(
    ("flags", "env", "says"),
    [
        pytest.param(["--nonsense"], {}, "--nonsense", id="an unknown flag"),
        pytest.param(["--port", "99999"], {}, "--port", id="a bad value"),
        pytest.param(["--max-concurrency"], {}, "--max-concurrency", id="a missing value"),
        pytest.param(["--host", "0.0.0.0"], {}, "--api-key", id="a public address without a key"),  # noqa: S104
        pytest.param(["--claude-command", "/nowhere/claude"], {}, "--claude-command", id="no such program"),
        pytest.param(["--log-file", "/dev/null/log"], {}, "log", id="a log that cannot be written"),
        pytest.param([], {"CLAUDE_OPENAI_PORT": "many"}, "CLAUDE_OPENAI_PORT", id="a bad variable"),
        pytest.param([], {"PORT": "-1"}, "PORT", id="a bad short variable"),
    ],
)
async def test_a_value_it_cannot_use_is_one_line_and_code_2(flags: list[str], env: dict[str, str], says: str) -> None:
    refusal = await refused(*flags, env=env)
    assert (refusal.code, refusal.stdout) == (2, "")
    (line,) = refusal.stderr.splitlines()
    assert line.startswith("claude-openai: ")
    assert says in line


async def test_a_port_in_use_is_one_line_and_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refusal = await refused("--port", str(taken.getsockname()[1]))
    assert (refusal.code, refusal.stdout) == (1, "")
    (line,) = refusal.stderr.splitlines()
    assert "is in use" in line
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in line


@needs("/proc")
async def test_port_of_another_server_of_the_user_is_reported_with_its_folder(tmp_path: Path) -> None:
    async with running(tmp_path, *ALONE, "--demo") as other:
        port = other.url.rpartition(":")[2]
        refusal = await refused("--port", port)
        owner = f"in use by claude-openai (pid {other.process.pid}, of your user, TMPDIR={other.temporary})"
        assert owner in refusal.stderr
        assert f"`TMPDIR={other.temporary} claude-openai stop`" in refusal.stderr
        assert (refusal.code, len(refusal.stderr.splitlines())) == (1, 1)
        doctor = await refused("doctor", "--demo", "--port", port)
        assert owner in doctor.stdout


async def test_ctrl_c_while_the_sdk_is_imported_stops_at_once(tmp_path: Path) -> None:
    library, importing = tmp_path / "library", tmp_path / "importing"
    library.mkdir()
    hangs = f"""
import sys, threading
class Hangs:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "claude_openai.claude.sdk.pool":
            open({str(importing)!r}, "w").close()
            threading.Event().wait()
sys.meta_path.insert(0, Hangs)
"""
    (library / "sitecustomize.py").write_text(hangs)
    path = os.pathsep.join([str(library), str(Path(claude_openai.__file__).parents[1])])
    async with running(tmp_path, env={"PYTHONPATH": path}) as command:
        await until(importing.exists, "the import has begun")
        command.send(signal.SIGINT)
        assert await command.process.wait() == 0
        assert command.stderr().count("\n") == 2, command.stderr()


@pytest.mark.long
@pytest.mark.parametrize("number", STOPS)
async def test_a_signal_lets_the_running_answer_end_and_refuses_new_ones(
    tmp_path: Path, number: signal.Signals
) -> None:
    gate = trio.Event()
    async with running(tmp_path, *ALONE, reply=Reply(Text("one", Pause(gate), " two"))) as command:
        async with Call.open(command.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            command.send(number)
            await command.is_stopping()
            async with Call.open(command.url, chat("Too late")) as late:
                status, error = await late.answer()
            assert (status, error["error"]["code"]) == (503, "shutting_down")
            assert int(late.headers["retry-after"]) > 0
            gate.set()
            *events, last, done = await call.events()
        assert texts(events) == [" two"]
        assert isinstance(last, dict)
        assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
        assert await command.process.wait() == 0
        await command.left_nothing()


@pytest.mark.long
async def test_an_answer_that_outlasts_the_drain_ends_with_an_error(tmp_path: Path) -> None:
    async with running(tmp_path, *ALONE, "--drain-timeout-ms", "300", reply=Reply(Text("one", Hang()))) as command:
        async with Call.open(command.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            command.send(signal.SIGTERM)
            error, done = await call.events()
        assert isinstance(error, dict)
        assert (error["error"]["code"], done) == ("shutting_down", "[DONE]")
        assert await command.process.wait() == 0
        await command.left_nothing()


@pytest.mark.long
async def test_server_stops_in_order_without_a_reader_of_stderr(tmp_path: Path) -> None:
    # `head` reads the line that says where it listens, and leaves.
    program = ("/bin/sh", "-c", 'exec 3>&2; "$@" 2>&1 >/dev/null | head -n 1 >&3', "sh", *MODULE)
    gate = trio.Event()
    async with running(tmp_path, *ALONE, program=program, reply=Reply(Text("one", Pause(gate), " two"))) as command:
        async with Call.open(command.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            server = find_instance(command.temporary)
            assert server is not None
            os.kill(server.pid, signal.SIGTERM)
            status = 200
            while status == 200:
                async with Call.open(command.url, None, "/ready") as ready:
                    status = await ready.status()
            gate.set()
            assert "".join(texts(await call.events())) == " two"
        assert await command.process.wait() == 0
        await command.left_nothing()


@pytest.mark.long
@pytest.mark.parametrize("number", STOPS)
async def test_a_second_signal_stops_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async with running(tmp_path, *ALONE, "--drain-timeout-ms", "600000", reply=Reply(Text("one", Hang()))) as command:
        async with Call.open(command.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            command.send(number)
            await command.is_stopping()
            command.send(number)
            assert await command.process.wait() == 128 + number
        await command.left_nothing()
        await command.api.requests[0].disconnected.wait()


@pytest.mark.long
async def test_its_log_is_private_and_holds_no_secret(tmp_path: Path) -> None:
    key, guess, upstream = "local-key-5d1e9a", "wrong-guess-77aa01", "sk-ant-api03-0123456789abcdefghij"
    flags = ("--log-level", "trace", "--log-file", str(tmp_path / "log" / "server.log"))
    env = {"CLAUDE_OPENAI_API_KEY": key, "ANTHROPIC_API_KEY": upstream}
    async with running(tmp_path, *flags, env=env) as command:
        command.api.enqueue(Reply("ok"), AUTHENTICATION_ERROR, Reply(Text("one", Hang())))
        for token, expected in ((key, 200), (guess, 401), (key, 403)):
            headers = {"authorization": f"Bearer {token}", "x_api_key": guess, "cookie": f"session={guess}"}
            async with Call.open(command.url, chat("Hi"), **headers) as call:
                assert await call.status() == expected
                await call.body()
        async with Call.open(command.url, chat("Hi", stream=True), authorization=f"Bearer {key}") as call:
            assert await call.status() == 200
            await call.until_text("one")
        command.send(signal.SIGTERM)
        assert await command.process.wait() == 0
        assert command.api.requests[0].headers["x-api-key"] == upstream
        assert command.stdout() == ""
    log = tmp_path / "log" / "server.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"openai.request_body", "sdk.write", "sdk.message", "http.request"} <= {each["event"] for each in records}
    told = log.read_text() + command.stderr()
    assert [secret for secret in (key, guess, upstream) if secret in told] == []
