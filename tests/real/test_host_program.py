"""`serve` inside a program that has logging, output and servers of its own."""

import asyncio
import json
import logging
import subprocess
import sys
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai import Config, serve
from claude_openai.config.field_check import LEAST, MOST
from claude_openai.errors import ConfigError, StartError
from claude_openai.logs.log import LIBRARIES
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S
from tests.scripted_backend import ScriptedBackend, full_turn

BACKEND = ScriptedBackend(full_turn("Hello"))
LOGGERS = ("", "host", "asyncio", "trio", *LIBRARIES)


def logging_state() -> list[tuple[Any, ...]]:
    """Everything that a server could change of the loggers."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    return [(each.level, each.propagate, each.disabled, each.handlers[:], each.filters[:]) for each in loggers]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Running:
    """A server in a task of its own, which can be ended before others."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scope, self.ended, self.stop = trio.CancelScope(), trio.Event(), trio.Event()

    async def run(self, task_status: trio.TaskStatus[list[str]]) -> None:
        with self.scope:
            await serve(self.config, backend=BACKEND, stop=self.stop, task_status=task_status)
        self.ended.set()


async def ask(url: str) -> None:
    async with Call.open(url, chat("Hi", stream=True)) as call:
        assert await call.status() == 200
        assert "".join(texts(await call.events())) == "Hello"


@pytest.mark.parametrize("order", [*permutations(range(3))], ids=str)
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_servers_that_end_in_any_order_leave_logging_as_it_was(
    tmp_path: Path, order: tuple[int, ...], is_cancelled: bool
) -> None:
    before = logging_state()
    servers = [Running(Config(port=0, log_level="trace", log_file=tmp_path / str(number))) for number in range(3)]
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for server in servers:
                (url,) = await nursery.start(server.run)
                await ask(url)
            assert logging_state()[0] == before[0], "the root logger is the host's"
            for number in order:
                if is_cancelled:
                    servers[number].scope.cancel()
                else:
                    servers[number].stop.set()
                await servers[number].ended.wait()
    assert logging_state() == before


async def test_a_log_has_its_own_libraries_and_nothing_of_the_host(tmp_path: Path) -> None:
    server = Running(Config(port=0, log_level="trace", log_file=tmp_path / "log"))
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            for name in ("host", "httpcore.connection", "asyncio", ""):
                logging.getLogger(name).error("not yours")
            logging.getLogger("hypercorn.error").error("yours")
            server.stop.set()
    heard = [record for record in records(tmp_path / "log") if record["event"] == "python.log"]
    assert [(record["logger"], record["message"]) for record in heard] == [("hypercorn.error", "yours")]


@pytest.mark.parametrize(
    ("fields", "is_on_stdout", "is_in_file"),
    [
        ({}, False, False),
        ({"log": True}, True, False),
        ({"log": False, "log_file": "log"}, False, False),
        ({"log_file": "log"}, False, True),
        ({"trace_file": "log"}, False, True),
        ({"log": True, "log_file": "log"}, False, True),
    ],
)
async def test_a_library_writes_a_log_only_where_it_was_asked_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], fields: dict[str, Any], is_on_stdout: bool, is_in_file: bool
) -> None:
    paths = {name: tmp_path / value for name, value in fields.items() if name.endswith("file")}
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, Config(port=0, **fields | paths), backend=BACKEND))
            await ask(url)
            nursery.cancel_scope.cancel()
    out, err = capfd.readouterr()
    assert (bool(out), (tmp_path / "log").exists(), err) == (is_on_stdout, is_in_file, "")


@pytest.mark.parametrize("host", ["a" * 64, "box..example", "\ud800"])
async def test_a_host_that_cannot_be_looked_up_is_a_start_error(host: str) -> None:
    with pytest.raises(StartError, match="not a host name or address"):
        await serve(Config(host=host, port=0, api_key="key"), backend=BACKEND)


async def test_the_largest_numbers_are_usable() -> None:
    numbers: dict[str, Any] = {name: 2**63 - 1 for name in LEAST if name not in MOST}
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, Config(port=0, **numbers), backend=BACKEND))
            await ask(url)
            nursery.cancel_scope.cancel()


async def test_a_library_cannot_be_in_the_background() -> None:
    with pytest.raises(ConfigError, match="background"):
        await serve(Config(port=0, background=True), backend=BACKEND)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_asyncio_program_has_the_server_as_its_guest_until_it_ends_it(is_cancelled: bool) -> None:
    async def main() -> None:
        await asyncio.wait_for(host(), LIMIT_S)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def host() -> None:
        loop = asyncio.get_running_loop()
        server, started, ended = Running(Config(port=0)), loop.create_future(), loop.create_future()

        async def guest() -> None:
            async with trio.open_nursery() as nursery:
                started.set_result(await nursery.start(server.run))

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        (url,) = await started
        await asyncio.to_thread(trio.run, ask, url)
        if is_cancelled:
            server.scope.cancel()
        else:
            server.stop.set()
        (await ended).unwrap()
        address, _, port = url.removeprefix("http://").partition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address, port)

    asyncio.run(main(), debug=True)


# The command marks the process as its server's own.
COMMAND = """
import gc, logging, os, signal, sys
from claude_openai import commands

def on_loaded():
    gc.freeze = lambda: None
    logging.getLogger("some.library").debug("heard")
    logging.getLogger("trio.async_generator_errors").error("heard")
    os.kill(os.getpid(), signal.SIGTERM)

gc.freeze = on_loaded
sys.exit(commands.main(["--port", "0", "--demo", "--output-dir", "none"]))
"""


@pytest.mark.long
def test_the_command_logs_the_records_of_every_library(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", COMMAND], env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    heard = [record for record in map(json.loads, run.stdout.splitlines()) if record.get("message") == "heard"]
    assert [(record["event"], record["logger"], record["level"]) for record in heard] == [
        ("python.log", "some.library", "debug"),
        ("python.log", "trio.async_generator_errors", "error"),
    ]
