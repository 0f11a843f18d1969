"""The command on a Unix socket only, and on the sockets of a service manager."""

import json
import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.real.call import Call, chat
from tests.real.command import MODULE, running, shell
from tests.real.harness import LIMIT_S, needs_claude

pytestmark = needs_claude

# Hands the socket at its first argument to the program in the others, as systemd does.
MANAGER = """
import os, socket, sys
held = socket.socket(socket.AF_UNIX)
held.bind(sys.argv[1])
held.listen()
held.set_inheritable(True)
os.dup2(held.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.long
async def test_commands_find_a_server_that_has_only_a_unix_socket(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        url = f"unix:{user.folder / 's #1?'}"
        started = await user("--background", "--spares", "0", "--listen", "unix:s #1?")
        assert (started.code, started.stderr) == (0, "")
        status = json.loads((await user("status", "--json")).stdout)
        assert (status["base_url"], status["port"], status["health"]) == (url, 0, "ok")
        async with Call.open(url, chat("Hi")) as call:
            assert (await call.answer())[0] == 200
        runs = await user("runs", "--json")
        assert [run["status"] for run in json.loads(runs.stdout)] == ["completed"]
        assert "no browser can open" in (await user("dashboard")).stderr
        assert (await user("restart")).code == 0
        assert user.server().base_url == url
        assert (await user("stop")).code == 0
        assert list(user.folder.iterdir()) == []


@pytest.mark.long
async def test_command_takes_the_sockets_that_are_for_its_process(tmp_path: Path) -> None:
    path = tmp_path / "s"
    manager = (sys.executable, "-c", MANAGER, str(path))
    async with running(tmp_path, program=(*manager, *MODULE)) as command:
        assert command.url == f"unix:{path}"
        async with Call.open(command.url, chat("Hi")) as call:
            assert (await call.answer())[0] == 200
        command.send(signal.SIGTERM)
        assert await command.process.wait() == 0
        assert path.exists()  # it is the manager's


async def test_descriptor_that_is_no_listening_socket_is_refused_on_one_line(tmp_path: Path) -> None:
    handed = ("sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3</dev/null', "sh", *MODULE)
    env = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(handed, capture_stderr=True, check=False, env=env)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("claude-openai: descriptor 3 of the service manager (LISTEN_FDS)")
