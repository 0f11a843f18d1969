"""What a server in the background is started with, and with what it is started again: keys, files, flags, variables."""

import plistlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from claude_openai.commands.instance.record import Instance
from tests.real.call import Call, chat
from tests.real.command import INSTANCE_FILES, Shell, complaint, printed, shell
from tests.real.harness import needs_claude

pytestmark = [needs_claude, pytest.mark.long]

KEY = "local-key-5d1e9a"


def key_file(user: Shell, text: str = KEY) -> Path:
    path = user.folder / "key"
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


async def asks_for(told: Instance, key: str) -> None:
    """It answers only requests with this key."""
    for headers, expected in (({}, 401), ({"authorization": f"Bearer {key}"}, 200)):
        async with Call.open(told.base_url, chat("Hi"), **headers) as call:
            assert await call.status() == expected
            await call.body()


@pytest.mark.long
async def test_a_key_in_a_file_works_in_the_background_and_is_read_again_at_a_restart(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        path = key_file(user)
        told = await user.start("--api-key-file", path.name)
        await asks_for(told, KEY)
        path.write_text("another-key\n")
        again = await user("restart", env={"PWD": "/"})
        assert (again.code, again.stderr) == (0, "")
        await asks_for(user.server(), "another-key")


async def test_a_key_file_that_a_variable_names_works_in_the_background_and_at_a_restart(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        variable = {"CLAUDE_OPENAI_API_KEY_FILE": str(key_file(user))}
        await asks_for(await user.start(env=variable), KEY)
        assert (await user("restart", env=variable)).code == 0
        await asks_for(user.server(), KEY)
        files = [path for path in user.temporary.iterdir() if path.is_file()]
        assert {path.name for path in files} == INSTANCE_FILES
        assert KEY not in "".join(path.read_text() for path in files)


def make_folder_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


async def test_a_restart_that_cannot_work_leaves_the_server_alone(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        key, claude, log = key_file(user), user.folder / "claude", user.folder / "own.log"
        claude.write_text("#!/bin/sh\n")
        claude.chmod(0o700)
        flags = ("--api-key-file", "key", "--claude-command", str(claude), "--log-file", "own.log")
        told = await user.start(*flags)
        elsewhere = replace(user, folder=user.home)
        spoilt: list[tuple[Callable[[], object], str]] = [
            (partial(make_folder_of, log), str(log)),
            (claude.unlink, str(claude)),
            (key.unlink, "--api-key-file"),
            (lambda: user.folder.rename(user.folder.with_name("moved")), str(user.folder)),
        ]
        for spoil, named in spoilt:
            spoil()
            refusal = await elsewhere("restart")
            assert refusal.code in (1, 2)
            assert len(refusal.stderr.splitlines()) == 1
            assert named in refusal.stderr
            assert elsewhere.server() == told
            assert (await elsewhere("status")).code in (0, 3)  # it answers; not ready as soon as its login is looked up
        assert (await elsewhere("stop")).code == 0


def test_unit_is_printed_with_any_key_in_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    for environ in ({"CLAUDE_OPENAI_API_KEY_FILE": str(path)}, {"API_KEY": KEY}):
        unit = printed(capsys, "service", "--print", "--systemd", "--host", "0.0.0.0", **environ)  # noqa: S104
        assert KEY not in unit
        assert "in-the-file" not in unit
    flags = ["--host", "0.0.0.0", "--api-key-file", str(path)]  # noqa: S104
    job = plistlib.loads(printed(capsys, "service", "--print", "--launchd", *flags).encode())
    assert job["ProgramArguments"][-6:-2] == flags
    missing = complaint(capsys, 2, "service", "--print", "--api-key-file", str(tmp_path / "none"))
    assert "--api-key-file" in missing


@pytest.mark.long
async def test_restart_reads_variables_again_unless_flags_replace_them(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        settings = {
            "CLAUDE_OPENAI_BACKEND": "cli",
            "CLAUDE_OPENAI_SPARES": "0",
            "CLAUDE_OPENAI_DRAIN_TIMEOUT_MS": "77",
            "CLAUDE_OPENAI_OUTPUT_DIR": str(user.folder / "captured"),
            "API_KEY": KEY,
            "ANTHROPIC_CUSTOM_HEADERS": "x-secret: of-the-account",
        }
        started = await user("--background", "--port", "0", env=settings)
        assert (started.code, started.stderr) == (0, "")
        told = user.server()
        assert told.variables == {name: value for name, value in settings.items() if name.startswith("CLAUDE_OPENAI_")}
        files = "".join(path.read_text() for path in user.temporary.iterdir() if path.is_file())
        assert KEY not in files
        assert "of-the-account" not in files

        # A key is required again, under either name.
        assert (await user("restart")).code == 1
        assert user.server() == told
        assert (await user("restart", env={"CLAUDE_OPENAI_API_KEY_FILE": str(key_file(user))})).code == 0
        again = user.server()
        assert (again.backend, again.drain_timeout_ms, again.output_dir) == ("cli", 77, told.output_dir)
        await asks_for(again, KEY)

        # What is set now counts, the rest is as it was; flags replace all.
        now = {"CLAUDE_OPENAI_BACKEND": "sdk", "CLAUDE_OPENAI_API_KEY": KEY}
        assert (await user("restart", env=now)).code == 0
        assert (user.server().backend, user.server().drain_timeout_ms) == ("sdk", 77)
        assert (await user("restart", "--port", "0", "--spares", "0")).code == 0
        last = user.server()
        assert (last.backend, last.drain_timeout_ms, last.has_api_key) == ("sdk", 10_000, False)


async def test_restart_after_stop_keeps_flags_variables_and_folder_but_no_key(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        key = {"CLAUDE_OPENAI_API_KEY": KEY}
        first = await user.start("--drain-timeout-ms", "77", env={**key, "CLAUDE_OPENAI_MAX_QUEUE_SIZE": "5"})
        elsewhere = replace(user, folder=user.home)
        assert (await elsewhere("stop")).code == 0
        assert user.files() == []
        (kept,) = (user.home / ".claude-openai" / "started").iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600
        for secret in (KEY, first.control_key):
            assert secret not in kept.read_text()

        refusal = await elsewhere("restart")
        assert (refusal.code, user.is_running()) == (1, False)
        assert "requires an API key" in refusal.stderr
        again = await elsewhere("restart", env=key)
        assert again.code == 0
        assert "none is running; starting the last one" in again.stderr
        server = user.server()
        assert (server.argv, server.variables, server.cwd) == (first.argv, first.variables, first.cwd)

        # `start` uses its own flags only, and is the last one then.
        assert (await elsewhere("stop")).code == 0
        assert (await elsewhere("start", "--port", "0", "--demo")).code == 0
        assert user.server().drain_timeout_ms == 10_000
        assert (await elsewhere("stop")).code == 0
        assert (await elsewhere("restart")).code == 0
        assert (user.server().backend, user.server().has_api_key) == ("demo", False)


async def test_the_runs_of_the_last_server_are_found_wherever_it_kept_them(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:

        async def one_run(*flags: str) -> str:
            told = await user.start(*flags)
            async with Call.open(told.base_url, chat("Hi")) as call:
                assert (await call.answer())[0] == 200
            assert (await user("stop")).code == 0
            return call.headers["x-claude-openai-run"]

        elsewhere = await one_run("--output-dir", "captured")
        assert (await user("tail", elsewhere)).stdout == "ok\n"
        assert elsewhere in (await user("runs")).stdout
        default = user.home / ".claude-openai" / "output"
        other = await user("tail", "--output-dir", str(default), elsewhere[:12])
        assert (other.code, "--output-dir" in other.stderr, str(default) in other.stderr) == (1, True, True)
        # The command means the last server that ran.
        usual = await one_run()
        assert usual in (await user("runs")).stdout
        assert elsewhere not in (await user("runs")).stdout
        assert not (user.home / ".claude-openai" / "output-dir").exists()
