"""A server in the background, by the commands that start, ask, stop and restart it, and read its log."""

import json
import os
import plistlib
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from claude_openai import __version__, commands
from claude_openai.commands.instance.record import Instance, is_claimed
from claude_openai.commands.start import start
from claude_openai.commands.stop import stop
from claude_openai.config import config_from
from claude_openai.errors import StartError
from claude_openai.testing import Hang, Pause, Reply, Text
from tests.conditions import needs
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.command import INSTANCE_FILES, MODULE, Refusal, Shell, complaint, names, printed, running, shell
from tests.real.harness import needs_claude, until

pytestmark = needs_claude

STATUS_KEYS = [
    "running",
    "pid",
    "port",
    "base_url",
    "health",
    "ready",
    "login",
    "version",
    "uptime_s",
    "runs",
    "warnings",
]
LIMIT_S = 60.0


async def says(url: str, expected: str, **headers: str) -> None:
    async with Call.open(url, chat("Hi"), **headers) as call:
        status, completion = await call.answer()
    assert (status, completion["choices"][0]["message"]["content"]) == (200, expected)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_it_starts_answers_refuses_a_second_one_and_stops(tmp_path: Path) -> None:
    async with shell(tmp_path, Reply("from the stand-in")) as user:
        # What lies in the present folder is not taken for a module of Python.
        (user.folder / "trio.py").write_text("raise SystemExit('planted')")
        started = await user("--background", "--port", "0")
        assert (started.code, started.stderr) == (0, "")
        status = await user("status", "--json")
        told = json.loads(status.stdout)
        log = user.home / ".claude-openai" / "claude-openai.log"
        assert (status.code, list(told)) == (0, STATUS_KEYS)
        assert (told["running"], told["health"], told["version"]) == (True, "ok", __version__)
        assert started.stdout.splitlines() == [
            f"claude-openai {__version__} runs in the background",
            f"pid       {told['pid']}",
            f"base URL  {told['base_url']}",
            f"log       {log}",
        ]
        assert told["base_url"] == f"http://127.0.0.1:{told['port']}"
        assert (mode(log), mode(log.parent)) == (0o600, 0o700)
        assert {mode(user.temporary / name) for name in INSTANCE_FILES} == {0o600}
        assert os.getsid(told["pid"]) == told["pid"]

        line = await user("status")
        assert line.code == 0
        assert line.stdout.startswith(
            f"claude-openai {__version__} runs: pid {told['pid']}, {told['base_url']}, health ok"
        )
        for _ in range(2):
            await says(told["base_url"], "from the stand-in")

        second = await user("--background", "--port", "0")
        assert (second.code, second.stdout) == (1, "")
        assert all(word in second.stderr for word in (str(told["pid"]), told["base_url"], "stop", "restart", "TMPDIR"))
        assert user.server().pid == told["pid"]

        stopped = await user("stop")
        assert (stopped.code, stopped.stdout) == (0, f"claude-openai (pid {told['pid']}) has stopped\n")
        assert user.processes.all() == []
        assert user.files() == []
        gone = await user("status")
        assert (gone.code, gone.stdout) == (1, commands.not_running(user.temporary) + "\n")
        again = await user("stop")
        assert (again.code, again.stdout) == (0, commands.not_running(user.temporary) + "\n")
        assert names(log.parent) == ["claude-openai.err", "claude-openai.log", "output", "started", "usage.db"]


@pytest.mark.long
async def test_a_restart_keeps_its_flags_and_takes_new_ones_for_all_old_ones(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        first = await user.start("--log-level", "info", "--log-file", "own.log", "--background")
        elsewhere = replace(user, folder=user.home)
        assert (await elsewhere("restart")).code == 0
        found = user.server()
        assert found.argv == ("--port", "0", "--spares", "0", "--log-level", "info", "--log-file", "own.log")
        assert (found.cwd, found.log_file) == (str(user.folder), str(user.folder / "own.log"))

        assert (await elsewhere("restart", "--default-model", "gpt")).code == 2
        assert user.server() == found
        assert (await elsewhere("restart", "--port", "0", "--spares", "0", "--no-log")).code == 0
        last = user.server()
        assert (last.argv, last.cwd, last.log_file) == (
            ("--port", "0", "--spares", "0", "--no-log"),
            str(elsewhere.folder),
            None,
        )
        assert len({first.pid, found.pid, last.pid}) == 3


@pytest.mark.long
async def test_a_key_is_written_nowhere_and_asked_for_again(tmp_path: Path) -> None:
    key = "local-key-5d1e9a"
    async with shell(tmp_path) as user:
        told = await user.start("--api-key", key)
        await says(told.base_url, "ok", authorization=f"Bearer {key}")
        async with Call.open(told.base_url, chat("Hi")) as call:
            assert await call.status() == 401
        command_line = await trio.Path(f"/proc/{told.pid}/cmdline").read_bytes()
        files = [path for folder in (user.home, user.temporary) for path in folder.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= INSTANCE_FILES
        assert key.encode() not in b"".join([command_line, *(path.read_bytes() for path in files)])

        refusal = await user("restart")
        assert refusal.code == 1
        assert "CLAUDE_OPENAI_API_KEY" in refusal.stderr
        assert user.server().pid == told.pid
        assert (await user("restart", env={"API_KEY": key})).code == 0
        async with Call.open(user.server().base_url, chat("Hi")) as call:
            assert await call.status() == 401


@pytest.mark.long
async def test_killed_server_leaves_no_claude_and_its_files_are_ignored(tmp_path: Path) -> None:
    async with shell(tmp_path, Reply(Text("one", Hang()))) as user, bystanding() as bystander:
        told = await user.start()
        async with answering(told):
            os.kill(told.pid, signal.SIGKILL)
            await user.processes.wait_none()
        assert not user.is_running()
        assert set(user.files()) == INSTANCE_FILES
        # Its number is reused by another process of the same user.
        for path in user.temporary.iterdir():
            path.write_text(path.read_text().replace(str(told.pid), str(bystander.pid)))
        assert not user.is_running()
        assert (await user("stop")).stdout == commands.not_running(user.temporary) + "\n"
        assert user.files() == []
        again = await user.start("--drain-timeout-ms", "100")
        # A turn that goes on is no reason for `stop` to leave anything.
        async with answering(again):
            assert (await user("stop")).code == 0
            assert user.processes.all() == []
        assert user.files() == []
        assert bystander.poll() is None


@asynccontextmanager
async def bystanding() -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(["sleep", "100"])
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def answering(told: Instance) -> AsyncIterator[None]:
    """In the middle of an answer that does not end."""
    async with Call.open(told.base_url, chat("Hi", stream=True)) as call:
        assert await call.status() == 200
        await call.until_text("one")
        yield


@pytest.mark.long
async def test_of_two_that_start_at_once_one_runs_and_one_is_refused(tmp_path: Path) -> None:
    said: list[Refusal] = []
    async with shell(tmp_path) as user:

        async def start() -> None:
            said.append(await user("--background", "--port", "0", "--spares", "0"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            nursery.start_soon(start)
        (won,), (lost,) = ([each for each in said if (each.code == 0) is is_won] for is_won in (True, False))
        assert f"pid       {user.server().pid}\n" in won.stdout
        assert (lost.code, lost.stdout) == (1, "")
        assert "another claude-openai" in lost.stderr


@pytest.mark.long
async def test_starting_server_is_stopped_too(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        process = await trio.lowlevel.open_process([*MODULE, "--port", "0", "--no-log"], env=user.environment)
        await until(lambda: is_claimed(user.temporary), "it holds the files", LIMIT_S)
        stopped = await user("stop")
        assert (stopped.code, stopped.stdout) == (0, f"claude-openai (pid {process.pid}) has stopped\n")
        assert await process.wait() == 0


@pytest.mark.long
async def test_a_server_that_hears_no_signal_is_killed_with_all_it_started(tmp_path: Path) -> None:
    stop_quickly = partial(stop, quick_s=0.05, beyond_drain_s=0.2)
    async with shell(tmp_path, Reply(Text("one", Hang()))) as user:
        told = await user.start("--drain-timeout-ms", "0")
        async with answering(told):
            os.kill(told.pid, signal.SIGSTOP)
            await trio.to_thread.run_sync(stop_quickly, told, user.temporary)
        assert user.processes.all() == []
        assert user.files() == []


def plant_link(path: Path) -> None:
    target = path.parent / "target"
    target.touch(0o600)
    path.symlink_to(target)


def plant_foreign(path: Path) -> None:
    path.touch(0o600)
    os.chown(path, 12345, -1)


@pytest.mark.long
@pytest.mark.parametrize("plant", [plant_link, pytest.param(plant_foreign, marks=needs("root"))])
async def test_a_planted_file_stops_no_foreground_server_and_nothing_is_done_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], None]
) -> None:
    async with shell(tmp_path) as user:
        planted = user.temporary / "claude-openai.pid"
        plant(planted)
        before = planted.lstat()
        for argv in (["--background", "--port", "0"], ["status"], ["stop"], ["restart"], ["logs"]):
            assert str(planted) in complaint(capsys, 1, *argv, TMPDIR=str(user.temporary))
        async with foreground(user) as told:
            assert "cannot find this server" in await told.line(2)
        assert planted.lstat() == before
        for path in user.temporary.iterdir():
            path.unlink()


class Told:
    """What a process says on a pipe, line by line."""

    def __init__(self, process: trio.Process, stream: trio.abc.ReceiveStream) -> None:
        self.process = process
        self._stream = stream
        self._text = b""

    async def line(self, number: int) -> str:
        """The line of this number, from 1, once it is there."""
        with trio.fail_after(LIMIT_S):
            while self._text.count(b"\n") < number:
                data = await self._stream.receive_some()
                assert data, self._text
                self._text += data
        return self._text.decode().splitlines()[number - 1]

    async def rest(self) -> str:
        with trio.fail_after(LIMIT_S):
            while data := await self._stream.receive_some():
                self._text += data
        return self._text.decode()


@asynccontextmanager
async def foreground(user: Shell, *flags: str) -> AsyncIterator[Told]:
    """A server in a terminal, so to speak."""
    process = await trio.lowlevel.open_process(
        [*MODULE, "--port", "0", "--spares", "0", "--no-log", *flags],
        cwd=user.folder,
        env=user.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    told = Told(process, process.stderr)
    try:
        assert " listening on " in await told.line(1)
        yield told
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stderr.aclose()


@pytest.mark.long
async def test_a_server_in_the_foreground_is_shown_and_stopped_too(tmp_path: Path) -> None:
    async with shell(tmp_path) as user, foreground(user) as first:
        status = await user("status")
        assert status.code == 0
        assert f"pid {first.process.pid}," in status.stdout
        async with foreground(user) as second:
            complaint = await second.line(2)
            assert f"pid {first.process.pid}" in complaint
            assert user.server().pid == first.process.pid
        assert user.server().pid == first.process.pid
        for command, word in (("logs", "standard output"), ("restart", "foreground")):
            refusal = await user(command)
            assert (refusal.code, refusal.stdout) == (1, "")
            assert word in refusal.stderr
        assert (await user("stop")).code == 0
        assert await first.process.wait() == 0
        assert user.files() == []


@pytest.mark.long
async def test_a_terminal_that_is_closed_takes_its_server_and_all_of_it_along(tmp_path: Path) -> None:
    gate = trio.Event()
    async with (
        running(tmp_path, reply=Reply(Text("one", Pause(gate), " two"))) as command,
        Call.open(command.url, chat("Hi", stream=True)) as call,
    ):
        await call.status()
        await call.until_text("one")
        for _ in range(2):
            command.send(signal.SIGHUP, to_group=True)
            await command.is_stopping()
        gate.set()
        assert "".join(texts(await call.events())) == " two"
        assert await command.process.wait() == 0
        await command.left_nothing()


@pytest.mark.long
async def test_why_it_does_not_start_is_printed(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            busy = await user("--background", "--port", str(taken.getsockname()[1]))
        assert (busy.code, busy.stdout) == (1, "")
        assert busy.stderr.count("is in use") == 1
        unusable = await user("--background", "--port", "0", "--claude-command", "/nowhere/claude")
        assert (unusable.code, unusable.stdout) == (2, "")
        assert "--claude-command" in unusable.stderr
        assert "is in use" not in unusable.stderr
        assert user.files() == []
        assert not user.is_running()


@pytest.mark.long
async def test_start_runs_the_server_in_the_background(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        started = await user("start", "--demo", "--port", "0")
        assert (started.code, "runs in the background (demo" in started.stdout) == (0, True)
        assert user.server().background
        assert (await user("stop")).code == 0
        assert user.files() == []


async def test_background_server_not_ready_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shell(tmp_path) as user:
        monkeypatch.setenv("HOME", str(user.home))
        with pytest.raises(StartError, match="did not answer within 0 s"):
            start(config_from(["--port", "0"], user.environment), ["--port", "0"], user.environment, timeout_s=0.0)
        await user.processes.wait_none()
        assert user.files() == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--background", "--port", "many"], "--port"),
        (["--background", "--nonsense"], "--nonsense"),
        (["dance"], "'dance'"),
        (["status", "--nonsense"], "claude-openai status --help"),
        (["stop", "now"], "now"),
        (["logs", "-n", "many"], "many"),
        (["service"], "--print"),
        (["service", "--print", "--api-key", "a-key"], "CLAUDE_OPENAI_API_KEY"),
    ],
)
def test_what_is_not_understood_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
) -> None:
    assert says in complaint(capsys, 2, *argv, TMPDIR=str(tmp_path))
    assert names(tmp_path) == []


async def test_the_log_is_followed_to_wherever_it_goes_on(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        assert "no server is running" in (await user("logs")).stderr
        folder = user.home / ".claude-openai"
        folder.mkdir()
        log = folder / "claude-openai.log"
        log.write_text("one\ntwo\nthree\n")
        assert (await user("logs", "-n", "2")).stdout == "two\nthree\n"

        async with following(user, "-n", "1") as told:
            assert await told.line(1) == "three"
            write(log, "four\n")
            assert await told.line(2) == "four"
            log.rename(folder / "claude-openai.log.1")
            write(folder / "claude-openai.log.1", "five\n")
            write(log, "six\n")
            assert (await told.line(3), await told.line(4)) == ("five", "six")
            log.write_text("")
            write(log, "7\n")
            assert await told.line(5) == "7"
            told.process.send_signal(signal.SIGINT)
            assert await told.process.wait() == 130
            assert (await told.rest()).endswith("six\n7\n")


async def test_log_without_a_reader_is_not_followed(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        (user.home / ".claude-openai").mkdir()
        (user.home / ".claude-openai" / "claude-openai.log").write_text("one\n")
        async with following(user) as told:
            assert await told.line(1) == "one"
            assert told.process.stdout is not None
            await told.process.stdout.aclose()
            with trio.fail_after(LIMIT_S):
                assert await told.process.wait() == 128 + signal.SIGPIPE


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@asynccontextmanager
async def following(user: Shell, *flags: str) -> AsyncIterator[Told]:
    """`logs -f`; what it complains of would be among what it prints."""
    process = await trio.lowlevel.open_process(
        [*MODULE, "logs", "-f", *flags],
        env=user.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        yield Told(process, process.stdout)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


UNIT_FLAGS = ("--drain-timeout-ms", "60000", "--log-file", "/var/my log$1 50%")


def test_the_unit_for_systemd_quotes_its_values_and_waits_for_the_drain(capsys: pytest.CaptureFixture[str]) -> None:
    unit = printed(capsys, "service", "--print", "--systemd", *UNIT_FLAGS, TMPDIR="/tmp/a b")  # noqa: S108
    lines = unit.splitlines()
    start = f"ExecStart={sys.executable} -P -m claude_openai --drain-timeout-ms 60000 --log-file"
    assert f'{start} "/var/my log$$1 50%%"' in lines
    assert 'Environment="TMPDIR=/tmp/a b"' in lines
    assert {"Restart=on-failure", "KillMode=mixed", "TimeoutStopSec=85", "WantedBy=default.target"} <= set(lines)
    assert not [line for line in lines if line.startswith("PrivateTmp")]
    lame_duck = printed(capsys, "service", "--print", "--systemd", "--lame-duck-ms", "7000")
    assert "TimeoutStopSec=42" in lame_duck.splitlines()
    default = printed(capsys, "service", "--print", "--systemd")
    assert f"--log-file {Path.home()}/.claude-openai/claude-openai.log" in default
    folder = f"{Path.home()}/.claude-openai"
    assert f"Environment=CLAUDE_OPENAI_ALLOWED_WORKING_DIR_PREFIXES={folder}/workspace" in default.splitlines()
    assert f"ExecStartPre=/bin/mkdir -p -m 700 {folder} {folder}/workspace" in default.splitlines()
    own = printed(capsys, "service", "--print", "--systemd", "--allowed-working-directory-prefixes", "/srv")
    assert "\nEnvironment=" not in own


def test_the_unit_of_sockets_has_the_addresses_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    unit = ("service", "--print", "--systemd", "--socket")
    lines = printed(capsys, *unit, "--host", "localhost", "--port", "80").splitlines()
    assert {"ListenStream=127.0.0.1:80", "SocketMode=0600", "WantedBy=sockets.target"} <= set(lines)
    listen = ("--listen", "[::1]:81,unix:/run/a%b", "--unix-mode", "0660", "--unix-group", "haproxy")
    lines = printed(capsys, *unit, *listen).splitlines()
    assert {"ListenStream=[::1]:81", "ListenStream=/run/a%%b", "SocketMode=0660", "SocketGroup=haproxy"} <= set(lines)


@needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "claude-openai.service"
    path.write_text(printed(capsys, "service", "--print", "--systemd", *UNIT_FLAGS, TMPDIR="/tmp/a b"))  # noqa: S108
    # Other units have sockets in the runtime folder, whose paths have 107 characters at most.
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        verified = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(path)],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": runtime},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_job_for_launchd_can_be_read_and_starts_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    job = plistlib.loads(printed(capsys, "service", "--print", "--launchd", "--port", "1", TMPDIR="/x").encode())
    shell_command, program = job["ProgramArguments"][:4], job["ProgramArguments"][4:]
    assert (shell_command[:2], shell_command[3]) == (["/bin/sh", "-c"], "claude-openai")
    assert program[:6] == [sys.executable, "-P", "-m", "claude_openai", "--port", "1"]
    assert (job["RunAtLoad"], job["KeepAlive"]) == (True, {"SuccessfulExit": False})
    workspace = f"{Path.home()}/.claude-openai/workspace"
    assert job["EnvironmentVariables"] == {
        "TMPDIR": "/x",
        "CLAUDE_OPENAI_ALLOWED_WORKING_DIR_PREFIXES": workspace,
    }


def test_its_script_takes_the_variables_of_the_users_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = plistlib.loads(printed(capsys, "service", "--print", "--launchd").encode())
    start = [*job["ProgramArguments"][:4], "/bin/sh", "-c", 'echo "<$A>"; echo "bad" >&2']
    for expected in ("<>\n", "<1 2>\n"):
        ran = subprocess.run(
            start, env={"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        assert (ran.stdout, ran.stderr) == (expected, "")
        (tmp_path / ".claude-openai" / "environment").write_text("A='1 2'\n")
    assert (tmp_path / ".claude-openai" / "claude-openai.err").read_text() == "bad\nbad\n"
    assert mode(tmp_path / ".claude-openai") == mode(tmp_path / ".claude-openai" / "workspace") == 0o700


@pytest.mark.parametrize("name", [name for name, command in commands.COMMANDS.items() if command.summary])
def test_every_command_is_in_the_help_and_has_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for argv in (["--help"], [name, "--help"]):
        with pytest.raises(SystemExit) as caught:
            commands.main(argv, {})
        assert not caught.value.code
        texts.append(capsys.readouterr().out)
    assert f"\n  {name} " in texts[0]
    assert texts[1].startswith(f"usage: claude-openai {name} ")


def test_status_has_the_same_content_as_json_and_as_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["status", "--json"], {"TMPDIR": str(tmp_path)}) == 1
    assert json.loads(capsys.readouterr().out) == {**dict.fromkeys(STATUS_KEYS), "running": False, "warnings": []}
