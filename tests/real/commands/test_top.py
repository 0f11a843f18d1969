"""`claude-openai top` in a terminal, on a real server."""

import os
import signal
from pathlib import Path

import pytest
import trio

from claude_openai.testing import Hang, Pause, Reply, Text
from tests.real.call import Call, chat
from tests.real.command import Shell, shell
from tests.real.harness import needs_claude
from tests.real.terminal import Terminal, in_terminal

pytestmark = needs_claude

QUICK = ("--max-idle-sessions", "0")


async def has_left(terminal: Terminal, code: int) -> None:
    """The command has ended, and the terminal is as it was."""
    assert await terminal.process.wait() == code
    assert terminal.modes == terminal.modes_before
    await terminal.until(lambda _: terminal.output.endswith(b"\x1b[?25h\x1b[?1049l"), "the other screen, with a cursor")


async def test_run_appears_grows_and_is_cancelled_with_a_key_in_a_terminal_that_is_resized(tmp_path: Path) -> None:
    gate = trio.Event()
    async with shell(tmp_path) as user:
        server = await user.start(*QUICK)
        async with in_terminal(user, "top", columns=200) as terminal:
            await terminal.shows(server.base_url, "no runs yet", "0 running   0 queued   0 parked")
            assert terminal.modes != terminal.modes_before
            assert b"\x1b[32m" in terminal.output
            user.api.enqueue(Reply(Text("Hel", Pause(gate), "lo", Hang())))
            async with Call.open(server.base_url, chat("Hi", stream=True)) as call:
                assert await call.status() == 200
                run_id = call.headers["x-claude-openai-run"]
                await terminal.shows(f"> {run_id[:12]}  running", "Hel", "1 running")
                gate.set()
                await terminal.shows("Hello", f"── {run_id} running")
                terminal.resize(60, 20)
                await terminal.until(
                    lambda lines: lines[-1].startswith("j/k select") and any("TOKENS" in line for line in lines),
                    "the last line",
                )
                assert not any("ROUTE" in line for line in terminal.lines)
                terminal.press("c")
                await terminal.shows(f"cancel {run_id[:12]} (claude-sonnet, ")
                terminal.press("n")
                await terminal.shows("j/k select")
                terminal.press("cy")
                *_, error, _ = await call.events()
                assert isinstance(error, dict)
                assert error["error"]["code"] == "run_cancelled"
            await terminal.shows(f"{run_id} cancelled", f"> {run_id[:12]}  cancelled", "0 running")
            terminal.press("q")
            await has_left(terminal, 0)


@pytest.mark.parametrize("end", ["stop", "SIGKILL"])
async def test_server_that_ends_is_reported_and_the_next_one_is_followed(tmp_path: Path, end: str) -> None:
    async with shell(tmp_path, Reply("ok")) as user:
        server = await user.start(*QUICK)
        async with in_terminal(user, "top") as terminal:
            await terminal.shows("no runs yet")
            if end == "stop":
                assert (await user("stop")).code == 0
            else:
                os.kill(server.pid, signal.SIGKILL)
            await terminal.shows("the server has stopped; waiting for it to start again")
            server = await user.start(*QUICK)
            await terminal.until(lambda lines: not any("the server has stopped" in line for line in lines), "ready")
            async with Call.open(server.base_url, chat("Hi")) as call:
                assert await call.status() == 200
                await call.body()
            await terminal.shows(server.base_url, "completed")
            terminal.press("q")
            await has_left(terminal, 0)


@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM"])
async def test_terminal_is_restored_after_a_signal_and_while_the_command_is_stopped(tmp_path: Path, end: str) -> None:
    async with shell(tmp_path) as user:
        await user.start(*QUICK)
        async with in_terminal(user, "top", env={"NO_COLOR": "1"}) as terminal:
            await terminal.shows("no runs yet")
            assert b"\x1b[32m" not in terminal.output
            terminal.press("\x1a")
            await terminal.is_stopped()
            assert terminal.modes == terminal.modes_before
            terminal.process.send_signal(signal.SIGCONT)
            terminal.press("?")
            await terminal.shows("any key closes the help")
            if end == "Ctrl-C":
                terminal.press("\x03")
                await has_left(terminal, 130)
            else:
                terminal.process.terminate()
                await has_left(terminal, -signal.SIGTERM)


async def refusal(user: Shell, text: str, *argv: str, env: dict[str, str] | None = None) -> int:
    async with in_terminal(user, *argv, env=env) as terminal:
        code: int = await terminal.process.wait()
        await terminal.until(lambda lines: text in " ".join(lines), text)
        assert b"\x1b[?1049h" not in terminal.output
        assert terminal.modes == terminal.modes_before
    return code


async def test_top_without_a_server_a_capable_terminal_or_its_extra_says_what_to_do(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        assert await refusal(user, "claude-openai is not running", "top") == 1
        assert (
            await refusal(user, "top needs a terminal; `claude-openai runs --json`", "top", env={"TERM": "dumb"}) == 2
        )
        said = await user("top")
        assert (said.code, said.stdout) == (2, "")
        assert "`claude-openai runs --json` prints the runs" in said.stderr
        # A module that is None in sys.modules is not found.
        site = tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text("import sys\nsys.modules['rich'] = None\n")
        path = f"{site}:{user.environment['PYTHONPATH']}"
        assert await refusal(user, "-m pip install 'claude-openai[top]'", "top", env={"PYTHONPATH": path}) == 1
