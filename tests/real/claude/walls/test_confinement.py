"""Turns with Bash see their folders, a home of their own and the system, and nothing else, where bubblewrap works."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude.walls.confinement import try_confinement
from claude_openai.runs.usage.rows import Amounts, RowKey
from claude_openai.runs.usage.store import UsageStore
from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_bwrap, needs_claude, on_both_backends, serving
from tests.real.own_tools import _results, is_judge

pytestmark = needs_claude

UNASKED: dict[str, Any] = {"toolMode": "all", "permissionMode": "auto"}
SECRETS = ("doc.txt", ".ssh/id", ".bashrc")


def using(*uses: tuple[str, dict[str, Any]]) -> Callable[[RecordedRequest], Reply]:
    """Claude uses these tools in one message, and the judge has nothing against them."""

    def reply(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        if "tool_result" in str(request.messages[-1]):
            return Reply("Done.")
        return Reply(*(ToolUse(name, given, f"toolu_{n}") for n, (name, given) in enumerate(uses)))

    return reply


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "Bash", {"command": command, "description": "Work"}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder to work in, beside a home with private files."""
    for name in ("work", "other", "home"):
        (tmp_path / name).mkdir()
    for name in SECRETS:
        path = tmp_path / "home" / name
        path.parent.mkdir(exist_ok=True)
        # A comment: on a busy machine Claude Code lets the shell read .bashrc for each command.
        path.write_text("# a secret of the home")
    (tmp_path / "other" / "b.txt").write_text("the words of b")
    return tmp_path / "work"


async def received(served: Served, messages: Any = "Work.", **claude: Any) -> list[str]:
    """Ask; return the results of Claude's tools."""
    async with Call.open(served.url, chat(messages, claude={**UNASKED, **claude})) as call:
        status, answer = await call.answer()
    assert status == 200, answer
    return _results(served.api.requests[-1])


async def health(url: str) -> dict[str, Any]:
    async with Call.open(url, None, "/health") as call:
        return (await call.answer())[1]


@needs_bwrap
@on_both_backends
async def test_bash_works_in_its_folder_and_sees_nothing_else_of_the_users(
    tmp_path: Path, work: Path, backend: str
) -> None:
    home = tmp_path / "home"
    script = (
        f"cat {' '.join(str(home / name) for name in SECRETS)} {tmp_path}/other/b.txt;"
        f"ls {tmp_path} {tmp_path / 'tmp'}; ls /run /home /root /var;"
        f"for f in /usr/x /x {tmp_path}/other/x; do echo x > $f; done;"
        "echo made > by-bash; echo kept > ~/.bashrc; echo t > $TMPDIR/t; echo t > /var/tmp/t;"
        "pwd -P; python3 -c 'import os, urllib.request as u; u.urlopen(os.environ[\"ANTHROPIC_BASE_URL\"])' 2>&1;"
        "echo processes; ls /proc | grep -c '^[0-9]'"
    )
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, using(bash(script)), confine="require", **settings) as served:
        assert (await health(served.url))["confined"] is True
        (said,) = await received(served)
        assert (work / "by-bash").read_text() == "made\n"
    assert "a secret" not in said
    assert "the words of b" not in said
    assert "server.log" not in said
    assert int(said.partition("processes")[2]) < 10
    assert str(work) in said.splitlines()
    assert "HTTP Error" in said  # the stand-in's, on loopback
    assert (home / ".bashrc").read_text() == "# a secret of the home"
    assert not (tmp_path / "other" / "x").exists()


@pytest.mark.long
@needs_bwrap
async def test_all_of_claudes_tools_are_confined_and_further_folders_are_open(tmp_path: Path, work: Path) -> None:
    other, home = tmp_path / "other", tmp_path / "home"
    (work / "link").symlink_to(home / "doc.txt")
    uses = using(
        ("Read", {"file_path": str(home / "doc.txt")}),
        ("Read", {"file_path": str(work / "link")}),
        ("Read", {"file_path": str(other / "b.txt")}),
        bash(f"cat link; echo written > {other}/by-bash"),
    )
    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (work, other)}
    async with serving(tmp_path, uses, confine="require", **settings) as served:
        said = await received(served, addDirs=[str(other)])
    assert "a secret" not in str(said)
    assert "the words of b" in said[2]
    assert (other / "by-bash").read_text() == "written\n"


@pytest.mark.long
@needs_bwrap
async def test_bash_cannot_read_a_usage_file_that_lies_in_its_folder(tmp_path: Path, work: Path) -> None:
    file = work / "usage.db"
    UsageStore(file).add({RowKey("2026-11-27", "a-secret-model", "none"): Amounts(1)}, None)
    assert b"a-secret-model" in file.read_bytes()
    uses = using(bash("cat usage.db; cp usage.db copy; cat copy; rm usage.db; echo done"))
    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (work,), "usage_file": file}
    async with serving(tmp_path, uses, confine="require", **settings) as served:
        (said,) = await received(served)
    assert "done" in said
    assert "a-secret-model" not in said
    assert RowKey("2026-11-27", "a-secret-model", "none") in UsageStore(file).read("")[0]


@needs_bwrap
@on_both_backends
async def test_a_history_is_resumed_in_there(tmp_path: Path, work: Path, backend: str) -> None:
    history = [{"role": role, "content": f"said by {role}"} for role in ("user", "assistant", "user")]
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, using(bash("echo x > by-bash")), confine="require", **settings) as served:
        await received(served, history)
        assert "said by assistant" in str(served.api.requests[0].messages)
        assert (work / "by-bash").exists()


@pytest.mark.long
@needs_bwrap
async def test_the_login_is_read_and_everything_else_of_claude_codes_folder_is_of_the_process_alone(
    tmp_path: Path, work: Path
) -> None:
    config = tmp_path / "home" / "config"
    config.mkdir()
    login = {"claudeAiOauth": {"accessToken": "sk-ant-oat01-file", "expiresAt": 9e15, "scopes": ["user:inference"]}}
    (config / ".credentials.json").write_text(json.dumps(login))
    (config / "history.jsonl").write_text("what was typed elsewhere")
    before = sorted(config.iterdir())
    plant = 'cat "$CLAUDE_CONFIG_DIR"/*; echo \'{"hooks":{}}\' > "$CLAUDE_CONFIG_DIR/settings.json"'
    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (work,), "extra_env": {"ANTHROPIC_API_KEY": ""}}
    async with serving(tmp_path, using(bash(plant)), confine="require", **settings) as served:
        (said,) = await received(served)
        assert served.api.requests[0].headers["authorization"] == "Bearer sk-ant-oat01-file"
    assert "what was typed" not in said
    assert sorted(config.iterdir()) == before


@pytest.mark.long
@on_both_backends
async def test_where_it_cannot_be_confined_bash_is_refused_if_that_is_required(
    tmp_path: Path, work: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(no_bwrap(tmp_path)))
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, confine="require", **settings) as served:
        found = await health(served.url)
        assert (found["confined"], found["confined_reason"]) == (False, "bubblewrap (bwrap) is not installed")
        async with Call.open(served.url, chat("Work.", claude={"toolMode": "all"})) as call:
            status, answer = await call.answer()
        error = answer["error"]
        assert (status, error["code"], error["param"]) == (403, "cannot_confine", "claude.toolMode")
        assert "bubblewrap (bwrap) is not installed" in error["message"]
        for claude in ({}, {"toolMode": "safe"}):
            async with Call.open(served.url, chat("Work.", claude=claude)) as call:
                assert await call.status() == 200
        assert all("Bash" not in (request.tools or ()) for request in served.api.requests)


@pytest.mark.long
@pytest.mark.parametrize("confine", ["auto", "off"])
async def test_where_it_is_not_confined_bash_works_and_health_and_the_log_say_so(
    tmp_path: Path, work: Path, confine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if confine == "auto":
        monkeypatch.setenv("PATH", f"{no_bwrap(tmp_path)}:/nowhere")
    reason = {"auto": "bubblewrap (bwrap) is not installed", "off": "--confine off"}[confine]
    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (work,), "confine": confine}
    uses = using(bash(f"/bin/cat {tmp_path}/other/b.txt"))
    async with serving(tmp_path, uses, **settings) as served:
        found = await health(served.url)
        assert (found["confined"], found["confined_reason"]) == (False, reason)
        assert await received(served) == ["the words of b"]
        (line,) = [line for line in (await served.whole_log()).splitlines() if '"confinement.tried"' in line]
    assert {"confined": False, "reason": reason}.items() <= json.loads(line).items()


def no_bwrap(folder: Path) -> Path:
    """A folder for PATH with a shell in it, and nothing else."""
    folder = folder / "bin"
    folder.mkdir()
    (folder / "bash").symlink_to("/bin/bash")
    return folder


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'bwrap: Creating new namespace failed: No space left on device' >&2; exit 1", "No space left on device"),
        ("exit 3", "exit status 3"),
        ("exec sleep 100", "did not end within 0.3 s"),
        ("sleep 100 & wait", "did not end within 0.3 s"),
    ],
    ids=["no namespaces", "fails without a word", "hangs", "hangs with a child"],
)
def test_broken_bubblewrap_is_reported_with_its_reason(
    tmp_path: Path, script: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tried = try_confinement("auto", os.environ, timeout_s=0.3)
    assert (tried.bwrap, tried.required) == ("", False)
    assert reason in tried.reason
