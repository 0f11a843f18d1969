"""A turn sees the client's words and nothing of the user's, leaves nothing behind, and gets no secret.

Everything the CLI would take from a user's folders is planted with a marker; a control run of the plain CLI shows that
it takes it, so that a plant that has gone stale is noticed.
"""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.claude.process.program import find_claude
from claude_openai.testing import Hang, MessagesApi, Reply, Text
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, needs_claude, on_both_backends, serving, until

pytestmark = needs_claude

MARKER = "PLANTED-7f3a"
SAID = "heard-91c2"
HISTORY = [
    {"role": "system", "content": f"system {SAID}"},
    {"role": "user", "content": f"first {SAID}"},
    {"role": "assistant", "content": f"second {SAID}"},
    {"role": "user", "content": f"third {SAID}"},
]


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def plant(home: Path, project: Path, touched: Path) -> None:
    """Settings, memories, skills, agents, commands, hooks and MCP servers of the user, wherever they can be."""

    def touch(name: str) -> dict[str, object]:
        return {"command": f"/usr/bin/touch {touched / name}", "type": "command"}

    touched.mkdir()
    config = home / "config"
    server = {"type": "stdio", "command": "/usr/bin/touch", "args": [str(touched / "mcp")]}
    put(config / ".claude.json", {"hasCompletedOnboarding": True, "mcpServers": {"planted": server}})
    put(project / ".mcp.json", {"mcpServers": {"planted": server}})
    for folder in (config, home / ".claude", project / ".claude"):
        hooks = {
            name: [{"hooks": [touch(name)]}] for name in ("SessionStart", "UserPromptSubmit", "Stop", "SessionEnd")
        }
        put(folder / "settings.json", {"hooks": hooks, "enableAllProjectMcpServers": True})
        put(folder / "skills" / "planted" / "SKILL.md", f"---\nname: planted\ndescription: {MARKER} skill\n---\nYes.\n")
        put(folder / "agents" / "planted.md", f"---\nname: planted\ndescription: {MARKER} agent\n---\nYes.\n")
        put(folder / "commands" / "planted.md", f"---\ndescription: {MARKER} command\n---\nYes.\n")
        put(folder / "CLAUDE.md", f"{MARKER} memory")
    for folder in (home, project, project.parent):
        put(folder / "CLAUDE.md", f"{MARKER} memory")
        put(folder / "AGENTS.md", f"{MARKER} memory")


def files_with(text: str, folder: Path) -> list[Path]:
    names = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return [path for path in names if text.encode() in _bytes(path)]


def _bytes(path: Path) -> bytes:
    with suppress(OSError):  # Claude Code makes and removes files meanwhile
        return path.read_bytes()
    return b""


def environ_argv_and_folder(pid: int) -> tuple[bytes, bytes, Path]:
    folder = Path(f"/proc/{pid}")
    return (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes(), (folder / "cwd").readlink()


@on_both_backends
async def test_nothing_of_the_users_goes_upstream_or_runs(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project, touched = tmp_path / "home", tmp_path / "tmp", tmp_path / "touched"
    # The private folder is made in `tmp`, so this is a parent of the turn's folder too.
    plant(home, project, touched)
    monkeypatch.chdir(project)
    planted = set(project.iterdir())
    async with serving(tmp_path, keep=planted, backend=backend) as served:
        for messages in (HISTORY[-1:], HISTORY):
            async with Call.open(served.url, chat(messages)) as call:
                assert await call.status() == 200
                await call.body()
        await served.processes.wait_no_claude()
        assert [request.tools for request in served.api.requests] == [[], []]
        assert not [request for request in served.api.all_requests if MARKER.encode() in request.raw]
        assert list(touched.iterdir()) == []


@pytest.mark.long
async def test_the_plain_cli_does_take_what_is_planted(tmp_path: Path) -> None:
    home, project, touched = tmp_path / "home", tmp_path / "project", tmp_path / "touched"
    plant(home, project, touched)
    with trio.fail_after(LIMIT_S):
        async with MessagesApi.serving() as api:
            env = {**os.environ, **stand_in_environment(api.base_url, home / "config"), "HOME": str(home)}
            command = [str(find_claude(None)), "-p", "Hi"]
            await trio.run_process(command, cwd=project, env=env, stdin=b"", capture_stdout=True)
            sent = b"".join(request.raw for request in api.all_requests).decode()
            assert {kind for kind in ("memory", "skill", "agent", "command") if f"{MARKER} {kind}" in sent} >= {
                "memory",
                "skill",
            }
            assert {path.name for path in touched.iterdir()} >= {"SessionStart", "UserPromptSubmit", "Stop", "mcp"}
            assert files_with("Hi", home / "config" / "projects")


@pytest.mark.long
@on_both_backends
async def test_conversation_leaves_nothing_on_the_disk(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, Reply(f"answer {SAID}"), log_level="info", backend=backend) as served:
        async with Call.open(served.url, chat(HISTORY)) as call:
            assert await call.status() == 200
            await call.body()
        await until(lambda: not files_with(SAID, tmp_path), "no file has the conversation")
        assert not list(served.home.rglob("*.jsonl"))


@pytest.mark.long
@on_both_backends
async def test_the_history_lies_in_a_private_file_for_as_long_as_the_turn(tmp_path: Path, backend: str) -> None:
    reply = Reply(Text("one", Hang()))
    async with (
        serving(tmp_path, reply, backend=backend) as served,
        Call.open(served.url, chat(HISTORY, stream=True)) as call,
    ):
        assert await call.status() == 200
        await call.until_text("one")
        (private,) = served.temporary.iterdir()
        (transcript,) = private.glob("*.jsonl")
        assert [stat.S_IMODE(path.stat().st_mode) for path in (private, transcript)] == [0o700, 0o600]
        assert SAID in transcript.read_text()
        assert files_with(SAID, served.home) == []
        call.leave()
        await until(lambda: not files_with(SAID, served.temporary), "the transcript is gone")


@pytest.mark.long
@on_both_backends
async def test_no_secret_and_no_word_of_the_client_is_seen_in_the_list_of_processes(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-local-5d1e"
    for name in ("CLAUDE_OPENAI_API_KEY", "API_KEY", "CLAUDE_OPENAI_ANYTHING"):
        monkeypatch.setenv(name, key)
    monkeypatch.setenv("CLAUDECODE", "1")
    async with serving(tmp_path, Reply(Text("one", Hang())), api_key=key, backend=backend) as served:
        bearer = {"authorization": f"Bearer {key}"}
        async with Call.open(served.url, chat(HISTORY, stream=True), **bearer) as call:
            assert await call.status() == 200
            await call.until_text("one")
            pids = served.processes.claudes()
            assert pids
            for pid in pids:
                environ, argv, folder = environ_argv_and_folder(pid)
                assert key.encode() not in environ + argv
                assert SAID.encode() not in environ + argv
                names = {entry.partition(b"=")[0] for entry in environ.split(b"\0")}
                assert not {name for name in names if name == b"CLAUDECODE" or name.startswith(b"CLAUDE_OPENAI")}
                assert folder.is_relative_to(served.temporary)
        assert key.encode() not in served.api.requests[0].raw
        assert key not in str(served.api.requests[0].headers)
