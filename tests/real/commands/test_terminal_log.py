"""The log of a server in the foreground: text on a terminal, JSON in a pipe or a file."""

import json
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.testing import AUTHENTICATION_ERROR, Reply
from tests.real.call import Call, chat
from tests.real.command import MODULE, Command, running
from tests.real.harness import OK, needs_claude, until

pytestmark = needs_claude

# Runs a program in a terminal of so many columns, and copies to standard error what it shows.
TERMINAL: Final = """
import fcntl, os, pty, signal, struct, sys, termios
columns, *argv = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(columns), 0, 0))
    os.execv(argv[0], argv)
signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
try:
    while shown := os.read(terminal, 65536):
        os.write(2, shown)
except OSError:  # the program has ended
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
COLOURS: Final = re.compile(r"\x1b\[\d+m")
EVENTS: Final = ('"event":"run.end"', '"event":"http.request"')
PROMPT: Final = "the words of the prompt"


@asynccontextmanager
async def in_terminal(
    folder: Path, columns: int, *flags: str, reply: Reply = OK, env: Mapping[str, str] | None = None
) -> AsyncIterator[Command]:
    """A server in a terminal; its `stderr` is all that the terminal shows."""
    program = (sys.executable, "-c", TERMINAL, str(columns), *MODULE)
    async with running(
        folder, "--spares", "0", *flags, program=program, reply=reply, env={"TERM": "xterm", **(env or {})}
    ) as command:
        yield command
        command.send(signal.SIGTERM)
        assert await command.process.wait() == 0


async def ask(command: Command, status: int, *, target: str = "/v1/chat/completions", **fields: object) -> None:
    async with Call.open(command.url, chat(PROMPT, **fields), target) as call:
        assert await call.status() == status
        await call.body()


async def shown(command: Command, text: str) -> list[str]:
    """The lines on the terminal, without colours, once a text is among them."""
    await until(lambda: text in COLOURS.sub("", command.stderr()), text)
    return COLOURS.sub("", command.stderr()).replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("columns", [60, 200])
async def test_terminal_shows_a_line_per_request_that_fits(tmp_path: Path, columns: int) -> None:
    async with in_terminal(tmp_path, columns) as command:
        command.api.enqueue(Reply("ok"), AUTHENTICATION_ERROR)
        await ask(command, 200, model="claude-sonnet")
        await ask(command, 403, model="claude-sonnet")
        async with Call.open(command.url, None, "/v1/models/%1b[2J%0aclaude") as call:
            assert await call.status() == 404
            await call.body()
        async with Call.open(command.url, None, "/health") as call:
            assert await call.status() == 200
            await call.body()
        lines = await shown(command, "/v1/models/")
        requests = [line for line in lines if re.match(r"\d\d:\d\d:\d\d \d{3} ", line)]
        assert [line.split()[1] for line in requests] == ["200", "403", "404"]
        assert all(len(line) <= columns for line in lines[lines.index(requests[0]) :])
        assert requests[0].split()[2] == "claude-sonnet"
        assert ("first" in requests[0]) == ("new" in requests[0].split()) == (columns == 200)
        assert "tok" in requests[0]
        assert "auth login" in " ".join(line.strip() for line in lines)
        told = command.stderr()
        assert PROMPT not in told
        assert "\x1b[32m200\x1b[0m" in told
        assert "\x1b" not in COLOURS.sub("", told)


@pytest.mark.long
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
async def test_terminal_without_colours_gets_none(tmp_path: Path, env: dict[str, str]) -> None:
    async with in_terminal(tmp_path, 120, env=env) as command:
        async with Call.open(command.url, None, "/v1/models") as call:
            assert await call.status() == 200
        await shown(command, "200 GET /v1/models")
        assert "\x1b" not in command.stderr()


@pytest.mark.long
async def test_first_lines_on_a_terminal_have_a_command_that_works(tmp_path: Path) -> None:
    async with in_terminal(tmp_path, 80, reply=Reply("Hi.")) as command:
        lines = await shown(command, "docs:")
        (example,) = [shlex.split(line.partition("curl ")[2]) for line in lines if line.startswith("try it:")]
        assert example[0] == f"{command.url}/v1/chat/completions"
        headers = dict(each.split(": ") for flag, each in pairwise(example) if flag == "-H")
        assert headers == {"Content-Type": "application/json"}
        async with Call.open(command.url, json.loads(example[-1])) as call:
            status, completion = await call.answer()
        assert (status, completion["choices"][0]["message"]["content"]) == (200, "Hi.")


async def test_first_lines_on_a_terminal_have_the_page(tmp_path: Path) -> None:
    async with in_terminal(tmp_path, 80) as command:
        lines = await shown(command, "docs:")
        (address,) = [line.partition("page:")[2].strip() for line in lines if line.startswith("page:")]
        page, _, ticket = address.partition("#ticket=")
        assert page == f"{command.url}/dashboard"
        async with Call.open(command.url, {"ticket": ticket}, "/dashboard/login") as call:
            assert await call.status() == 200


def parsed(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


@pytest.mark.long
async def test_log_in_a_pipe_is_json(tmp_path: Path) -> None:
    async with running(tmp_path, "--spares", "0") as command:
        await ask(command, 200, model="claude-sonnet")
        await until(lambda: all(event in command.stdout() for event in EVENTS), "the request is logged")
        records = parsed(command.stdout())
        assert {"server.start", "openai.request", "run.end"} <= {record["event"] for record in records}
        (line,) = [record for record in records if record["event"] == "http.request"]
        assert line["model"] == "claude-sonnet"


@pytest.mark.long
async def test_log_in_a_file_is_json_although_the_server_is_in_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with in_terminal(tmp_path, 80, "--log-file", str(log)) as command:
        await ask(command, 200, model="claude-sonnet")
        await until(lambda: all(event in log.read_text() for event in EVENTS), "the request is logged")
        assert {"http.request", "run.end"} <= {record["event"] for record in parsed(log.read_text())}
        assert "total" not in command.stderr()


@pytest.mark.long
async def test_debug_in_a_terminal_is_json(tmp_path: Path) -> None:
    async with in_terminal(tmp_path, 80, "--debug") as command:
        await until(lambda: '"event":"server.start"' in command.stderr(), "the start is logged")


@pytest.mark.long
async def test_text_can_be_asked_for_in_a_pipe(tmp_path: Path) -> None:
    async with running(tmp_path, "--spares", "0", "--log-format", "text") as command:
        await ask(command, 200, model="claude-sonnet")
        line = re.compile(r"^\d\d:\d\d:\d\d 200 claude-sonnet +new +wait .* tok +run_\w{8}$", re.MULTILINE)
        await until(lambda: line.search(command.stdout()) is not None, "the request is logged as text")
        assert "\x1b" not in command.stdout()
