"""A server on a machine without Claude Code: it runs, says what is missing, and works as soon as that is installed."""

import signal
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude.process import program
from tests.openai_schema import validate
from tests.real.call import Call, chat
from tests.real.command import ADVICE, running
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until

pytestmark = needs_claude


async def health(url: str) -> dict[str, Any]:
    async with Call.open(url, None, "/health") as call:
        status, body = await call.answer()
    assert (status, body["status"]) == (200, "ok")
    claude: dict[str, Any] = body["claude"]
    return claude


async def is_refused(served: Served, *, says: str, stream: bool = False) -> None:
    async with Call.open(served.url, chat("Hi", stream=stream)) as call:
        status, error = await call.answer()
    validate("ErrorResponse", error)
    assert (status, error["error"]["type"], error["error"]["code"]) == (503, "upstream_error", "claude_not_found")
    assert says in error["error"]["message"]
    assert call.headers["x-should-retry"] == "false"


@on_both_backends
async def test_server_without_claude_reports_it_until_installed(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_bundled_claude", lambda: None)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    async with serving(tmp_path, backend=backend, spares=1, log_level="debug") as served:
        claude = await health(served.url)
        assert (sorted(claude), claude["found"]) == (["found", "login", "message"], False)
        assert ADVICE in claude["message"]
        for stream in (False, True):
            await is_refused(served, says=ADVICE, stream=stream)
        (warning,) = [line for line in (await served.whole_log()).splitlines() if '"claude.missing"' in line]
        assert ADVICE in warning
        (folder / "claude").symlink_to(fake_cli(tmp_path, ANSWER))
        assert await health(served.url) == {"found": True, "login": "unchecked"}
        async with Call.open(served.url, chat("Hi")) as call:
            status, completion = await call.answer()
        assert (status, completion["choices"][0]["message"]["content"]) == (200, "one two")
        told = await served.whole_log()
        assert told.count('"claude.missing"') == 1
        assert "traceback" not in told
        assert "spare.failed" not in told


def _moved(one: Path, other: Path) -> None:
    one.rename(other)


@on_both_backends
async def test_a_command_that_is_gone_is_missed_and_found_again(tmp_path: Path, backend: str) -> None:
    command, away = Path(fake_cli(tmp_path, ANSWER)), tmp_path / "away"
    async with serving(tmp_path, backend=backend, claude_command=str(command)) as served:
        _moved(command, away)
        await is_refused(served, says=str(command))
        assert not (await health(served.url))["found"]
        _moved(away, command)
        async with Call.open(served.url, chat("Hi")) as call:
            assert await call.status() == 200


@pytest.mark.long
async def test_the_command_warns_in_one_line_and_listens(tmp_path: Path) -> None:
    # In the place of the SDK: a package of its name that brings no program.
    package = tmp_path / "path" / "claude_agent_sdk"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    env = {"PATH": str(empty), "PYTHONPATH": str(package.parent)}
    async with running(tmp_path, "--backend", "cli", "--no-log", env=env) as command:
        await until(lambda: command.stderr().count("\n") > 1, "the warning is there")
        listening, warning = command.stderr().splitlines()
        assert listening.endswith("(cli backend)")
        assert warning.startswith("claude-openai: warning: ")
        assert ADVICE in warning
        assert not (await health(command.url))["found"]


@pytest.mark.long
@pytest.mark.parametrize("version", ["2.1.168", "2.1.200"])
async def test_the_command_warns_of_a_claude_that_is_too_old(tmp_path: Path, version: str) -> None:
    old = fake_cli(tmp_path, f"[ $1 = --version ] && exec echo '{version} (Claude Code)'; exit 1")
    async with running(tmp_path, "--backend", "cli", "--no-log", "--claude-command", old) as command:
        await until(lambda: command.stderr().count("\n") > 1, "the warning is there")
        _, warning = command.stderr().splitlines()
        assert warning.startswith(f"claude-openai: warning: Claude Code {version} is ")
        assert warning.endswith("or leave out --claude-command")


@pytest.mark.long
async def test_claude_without_version_does_not_block_start_and_stop(
    tmp_path: Path,
) -> None:
    asked = tmp_path / "asked"
    hanging = fake_cli(tmp_path, f"trap '' TERM; echo $1 >> {asked}; sleep 100 & wait; wait")
    async with running(tmp_path, "--backend", "cli", "--no-log", "--claude-command", hanging) as command:
        await until(lambda: asked.exists() and asked.read_text() == "--version\n", "it is asked")
        assert (await health(command.url))["found"]
        command.send(signal.SIGTERM)
        await command.processes.wait_no_claude()
