"""Nothing of a turn stays in the user's folders, however it ended, and nothing of the user's own is touched.

What Claude Code makes once, at its first start, is named here and in docs/install.md. All else ends with its process;
a killed server's is removed by its guardian, or by the next server.
"""

import errno
import json
import os
import re
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Hang, RecordedRequest, Reply, Text, ToolUse
from tests.real.call import Call, chat
from tests.real.command import Command, running, shell
from tests.real.harness import LIMIT_S, needs_claude, on_both_backends, serving, until, until_one
from tests.real.own_tools import is_judge
from tests.real.tool_turns import READ, results

pytestmark = needs_claude

BASH: dict[str, Any] = {"toolMode": "all"}
# Folders that Claude Code makes when it needs them.
EMPTY_AGAIN = {"sessions", "session-env", "shell-snapshots", "projects", "telemetry", "plans"}


def reply(request: RecordedRequest) -> Reply:
    """What the last words of the user ask for."""
    *_, said = (str(message["content"]) for message in request.messages if message["role"] == "user")
    if "tool_result" in said:
        return Reply(Text("one", Hang())) if "then hang" in str(request.messages) else Reply("Done.")
    if "call" in said:
        return Reply(ToolUse("mcp__openai__read", {"path": "/a"}, "toolu_1"))
    if "bash" in said:
        # Both are allowed unasked: one changes a file in the folder, the other reads one.
        command = "cat fifo" if "and wait" in said else "touch touched"
        return Reply(ToolUse("Bash", {"command": command, "description": "Begin."}, "toolu_1"))
    return Reply(Text("one", Hang())) if "hang" in said else Reply("Hello.")


def listing(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder: the contents of files, None for folders, which count only if they are empty."""
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(folder):
        if not folders and not files:
            found[os.path.relpath(parent, folder)] = None
        for name in files:
            path = Path(parent, name)
            with suppress(FileNotFoundError):  # just removed
                found[os.path.relpath(path, folder)] = path.read_bytes() if path.is_file() else b""
    return found


def is_documented(path: str, content: bytes | None) -> bool:
    name, _, rest = path.removeprefix(".claude/").removeprefix("config/").partition("/")
    if name in (".claude-openai", ".claude.json", ".claude.json.lock", "backups"):
        return True
    return name in EMPTY_AGAIN and not rest and content is None


def changes(home: Path, before: dict[str, bytes | None]) -> list[str]:
    """What is new, changed or gone, but for what the documentation names."""
    after = listing(home)
    new = {path for path, content in after.items() - before.items() if not is_documented(path, content)}
    return sorted({*new, *(before.keys() - after.keys())})


async def is_soon_clean(home: Path, before: dict[str, bytes | None]) -> None:
    await until(lambda: not changes(home, before), lambda: f"none of these is: {changes(home, before)}")


@dataclass(frozen=True, slots=True)
class User:
    """A user with Claude Code sessions: one running, one killed, and one in the same folder.

    Attributes:
        home: theirs.
        work: where they, and turns with tools of Claude's own, work.
        before: what is in the home when the server starts.
    """

    home: Path
    work: Path
    before: dict[str, bytes | None]

    @classmethod
    def plant(cls, home: Path, config: Path, work: Path) -> "User":
        work.mkdir()
        os.mkfifo(work / "fifo")
        project = "".join(c if c.isalnum() else "-" for c in str(work))
        for pid in (os.getpid(), 4194304):
            session = str(uuid.uuid4())
            start = {"pid": pid, "procStart": "1", "sessionId": session}
            _put(config / "sessions" / f"{pid}.json", json.dumps(start))
            _put(config / "sessions" / f"{pid}.{'0' * 64}.key", json.dumps(start))
            _put(config / "session-env" / session / "hook.sh", "export A=1")
            _put(config / "projects" / project / session / "tool-results" / "b1.txt", "long")
            _put(config / "projects" / project / f"{session}.jsonl", "{}")
            _put(home / ".cache/claude-cli-nodejs" / project / f"mcp-logs-openai/{session}.jsonl", json.dumps(start))
        # It is the newest of all, as that of a session which is in use would be.
        snapshot = config / "shell-snapshots" / "snapshot-bash-9999999999999-abcdef.sh"
        _put(snapshot, "export PATH=/usr/bin\n")
        os.utime(snapshot, (time.time() + 3600,) * 2)
        return cls(home, work, listing(home))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@asynccontextmanager
async def served_user(folder: Path) -> AsyncIterator[tuple[Command, User]]:
    """A server of a user whose Claude Code is set up in the usual place."""
    work = folder / "work"
    # What is confined leaves nothing there.
    flags = ("--allowed-working-directory-prefixes", str(work), "--confine", "off")
    async with running(folder, *flags, reply=reply, env={"CLAUDE_CONFIG_DIR": ""}) as command:
        yield command, User.plant(command.home, command.home / ".claude", work)


async def answered(url: str, said: list[dict[str, Any]], words: str, **more: Any) -> list[dict[str, Any]]:
    """A turn, or two if Claude calls the client's tool; return the last answer."""
    said = [*said, {"role": "user", "content": words}]
    async with Call.open(url, chat(said, **more)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
    if answer["choices"][0]["finish_reason"] == "tool_calls":
        said += results(answer, "seen")
        async with Call.open(url, chat(said, **more)) as call:
            status, answer = await call.answer()
            assert status == 200, answer
    return [*said, answer["choices"][0]["message"]]


async def begun(url: str, words: str, stack: AsyncExitStack, work: Path | None = None, **more: Any) -> Call:
    """A turn that hangs in its answer, or, with a folder, in a command, which ends with the stack."""
    call = await stack.enter_async_context(Call.open(url, chat(words, stream=True, **more)))
    assert await call.status() == 200
    if work is None:
        await call.until_text("one")
    else:
        await until(lambda: is_read(work / "fifo", stack), "a command reads the FIFO", LIMIT_S)
    return call


def is_read(fifo: Path, stack: AsyncExitStack) -> bool:
    """Whether somebody reads it; the end of it comes with that of the stack."""
    try:
        stack.callback(os.close, os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


async def interrupted_error(url: str, words: str, work: Path | None = None, **more: Any) -> None:
    async with AsyncExitStack() as stack:
        call = await begun(url, words, stack, work, **more)
        call.leave()


@pytest.mark.long
async def test_a_small_day_leaves_what_the_first_start_makes_and_nothing_else(tmp_path: Path) -> None:
    async with served_user(tmp_path) as (command, user):
        url = command.url
        bash: dict[str, Any] = {"claude": {**BASH, "workingDirectory": str(user.work)}}
        said: list[dict[str, Any]] = []
        for turn in range(7):
            said = await answered(url, said, f"hello {turn}")
        await interrupted_error(url, "hang at once")
        said = []
        for turn in range(2):
            said = await answered(url, said, f"call {turn}", tools=[READ])
        await interrupted_error(url, "hang again")
        said = []
        for turn in range(2):
            said = await answered(url, said, f"bash {turn}", **bash)
        await interrupted_error(url, "bash and wait", user.work, **bash)
        await interrupted_error(url, "bash, then hang", **bash)
        await interrupted_error(url, "hang", **bash)
        await answered(url, [], "call", tools=[READ], **bash)
        await answered(url, [], "hello again")
        command.send(signal.SIGTERM)
        await command.left_nothing()
        assert changes(user.home, user.before) == []


@pytest.mark.long
@on_both_backends
async def test_what_a_process_leaves_is_gone_when_it_is(tmp_path: Path, backend: str) -> None:
    # A folder for settings that the user has chosen.
    config, work = tmp_path / "home" / "config", tmp_path / "work"
    (tmp_path / "home").mkdir()
    user = User.plant(tmp_path / "home", config, work)
    settings: dict[str, Any] = {
        "backend": backend,
        "allowed_working_directory_prefixes": (work,),
        "confine": "off",
    }
    bash: dict[str, Any] = {"claude": {**BASH, "workingDirectory": str(work)}}
    async with serving(tmp_path, reply, **settings) as served:
        await interrupted_error(served.url, "hang")
        await interrupted_error(served.url, "bash and wait", work, **bash)
        await interrupted_error(served.url, "bash, then hang", **bash)
        await served.processes.wait_no_claude()
        await is_soon_clean(user.home, user.before)
        assert "process.files_left" not in await served.whole_log()


@pytest.mark.long
async def test_the_guardian_removes_what_the_processes_of_a_killed_server_left(tmp_path: Path) -> None:
    async with served_user(tmp_path) as (command, user):
        bash: dict[str, Any] = {"claude": {**BASH, "workingDirectory": str(user.work)}}
        async with AsyncExitStack() as stack:
            await begun(command.url, "hang", stack)
            await begun(command.url, "bash and wait", stack, user.work, **bash)
            assert changes(user.home, user.before)
            command.send(signal.SIGKILL)
        await command.left_nothing()
        await is_soon_clean(user.home, user.before)


@pytest.mark.long
async def test_the_next_server_removes_what_one_left_that_was_killed_with_its_guardian(tmp_path: Path) -> None:
    async with shell(tmp_path, reply) as sh, AsyncExitStack() as stack:
        sh.environment["CLAUDE_CONFIG_DIR"] = ""
        user = User.plant(sh.home, sh.home / ".claude", tmp_path / "work")
        flags = ("--allowed-working-directory-prefixes", str(user.work), "--confine", "off")
        first = await sh.start(*flags)
        await begun(
            first.base_url, "bash and wait", stack, user.work, claude={**BASH, "workingDirectory": str(user.work)}
        )
        for pid in (*sh.processes.guardians(), first.pid, *sh.processes.marked()):
            os.kill(pid, signal.SIGKILL)
        await sh.processes.wait_none()
        left = [name for name in sh.files() if name.startswith("claude-openai-")]
        assert len(left) == 1
        assert changes(user.home, user.before)
        await sh.start(*flags)
        assert left[0] not in sh.files()
        assert changes(user.home, user.before) == []


@pytest.mark.long
async def test_long_results_and_plans_are_removed_too(tmp_path: Path) -> None:
    config, work = tmp_path / "home" / "config", tmp_path / "work"
    (tmp_path / "home").mkdir()
    user = User.plant(tmp_path / "home", config, work)
    (work / "long").write_text("long\n" * 20_000)
    read = ToolUse("Bash", {"command": "cat long", "description": "Read."}, "toolu_1")

    def answer(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        if "tool_result" in str(request.messages):
            return Reply(Text("one", Hang()))
        plans = re.findall(r"/\S*/plans/[\w-]+\.md", str(request.messages))
        write = ToolUse("Write", {"file_path": plans[0], "content": "Plan."}, "toolu_2") if plans else None
        return Reply(read, *filter(None, [write]))

    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (work,), "confine": "off"}
    async with serving(tmp_path, answer, **settings) as served:
        for mode in ("acceptEdits", "plan"):
            claude = {**BASH, "workingDirectory": str(work), "permissionMode": mode}
            async with AsyncExitStack() as stack:
                call = await begun(served.url, "Work.", stack, claude=claude)
                made = changes(user.home, user.before)
                assert [path for path in made if "/tool-results/" in path]
                assert bool([path for path in made if "/plans/" in path]) == (mode == "plan")
                call.leave()
            await served.processes.wait_no_claude()
            await is_soon_clean(user.home, user.before)


async def test_file_that_cannot_be_removed_is_logged(tmp_path: Path) -> None:
    async with serving(tmp_path, reply) as served:
        async with AsyncExitStack() as stack:
            call = await begun(served.url, "hang", stack)
            pid = await until_one(served.processes.claudes, "the CLI of the turn runs")
            # No file can be removed that is a folder.
            (served.home / "config" / "sessions" / f"{pid}.folder").mkdir()
            call.leave()
            await until(lambda: '"event":"process.files_left"' in served.log_text(), "the log has it")
        assert f"{pid}.folder" in served.log_text()
