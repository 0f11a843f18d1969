"""The login of Claude Code is looked up at the start: a missing one is reported before a turn is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.testing import Reply
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.command import Command, Refusal, running
from tests.real.fake_cli import fake_cli
from tests.real.harness import needs_claude, until

WARNING = "warning: Claude Code is not logged in; run `"
LOGIN = {
    "accessToken": "sk-ant-oat01-of-the-test",
    "refreshToken": "sk-ant-ort01-of-the-test",
    "expiresAt": 9_999_999_999_999,
    "scopes": ["user:inference"],
    "subscriptionType": "max",
}
NO_LOGIN = {"ANTHROPIC_API_KEY": ""}


async def ready(command: Command) -> tuple[int, list[str]]:
    async with Call.open(command.url, None, "/ready") as call:
        status, answer = await call.answer()
    return status, [reason["reason"] for reason in answer["reasons"]]


async def login(command: Command) -> str:
    async with Call.open(command.url, None, "/health") as call:
        health: dict[str, Any] = (await call.answer())[1]
    return str(health["claude"]["login"])


async def status(command: Command, *flags: str) -> Refusal:
    argv = [sys.executable, "-m", "claude_openai", "status", *flags]
    env = {"TMPDIR": str(command.temporary), "HOME": str(command.home)}
    done = await trio.run_process(argv, env=env, stdin=b"", capture_stdout=True, capture_stderr=True, check=False)
    return Refusal(done.returncode, done.stdout.decode(), done.stderr.decode())


@needs_claude
async def test_missing_login_is_a_warning_and_not_ready_until_a_turn_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path, "--spares", "0", env=NO_LOGIN, reply=Reply("Hi.")) as command:
        assert (await ready(command))[0] == 200
        await until(lambda: WARNING in command.stderr(), "the warning")
        assert "auth login`" in command.stderr()
        assert await ready(command) == (503, ["login_missing"])
        shown = await status(command)
        assert (shown.code, shown.stderr) == (3, "")
        assert "warning: Claude Code is not logged in. Run `claude auth login`" in shown.stdout
        told = json.loads((await status(command, "--json")).stdout)
        assert (told["health"], told["ready"], told["login"]) == ("ok", False, "missing")
        async with Call.open(command.url, chat("Hi")) as call:
            assert (await call.answer())[0] == 403
        assert await ready(command) == (503, ["login_missing"])
        # What `claude auth login` writes.
        command.config.mkdir(exist_ok=True)
        (command.config / ".credentials.json").write_text(json.dumps({"claudeAiOauth": LOGIN}))
        async with Call.open(command.url, chat("Hi")) as call:
            assert (await call.answer())[0] == 200
        assert await ready(command) == (200, [])
        assert (await status(command)).code == 0
        assert command.stderr().count("not logged in") == 1


@pytest.mark.long
@needs_claude
async def test_login_that_is_there_is_found_without_a_turn(tmp_path: Path) -> None:
    async with running(tmp_path, "--spares", "0") as command:
        await until(lambda: '"event":"claude.login"' in command.stdout(), "the login is looked up")
        assert await login(command) == "found"
        assert await ready(command) == (200, [])
        assert command.api.all_requests == []
        assert "warning" not in command.stderr()


@pytest.mark.long
@pytest.mark.parametrize(
    "behaviour",
    ["exit 1", "echo 'Not logged in'; exit 1", "echo '{\"loggedIn\": null}'", "echo {; setsid sleep 1234 & exit 1"],
    ids=["silent", "text", "no answer", "leaves a process with its pipe"],
)
@needs("/proc", "setsid")
async def test_unknown_output_is_no_warning(tmp_path: Path, behaviour: str) -> None:
    fake = fake_cli(tmp_path, f"[ $1 = auth ] || exit 9\n{behaviour}")
    async with running(tmp_path, "--spares", "0", "--claude-command", fake) as command:
        await until(lambda: '"event":"claude.login"' in command.stdout(), "the login is looked up")
        assert await login(command) == "unknown"
        assert await ready(command) == (200, [])
        assert WARNING not in command.stderr()


@pytest.mark.long
async def test_server_that_stops_while_the_lookup_hangs_leaves_no_process(tmp_path: Path) -> None:
    looked = tmp_path / "looked"
    fake = fake_cli(tmp_path, f"[ $1 = auth ] || exit 9\n: > {looked}\nsleep 1234")
    async with running(tmp_path, "--spares", "0", "--claude-command", fake) as command:
        await until(looked.exists, "the login is looked up")
        assert (await login(command), await ready(command)) == ("unchecked", (200, []))
        command.process.terminate()
        await command.left_nothing()
        assert command.process.returncode == 0
