"""The folders of a request between its check and its turn, who may ask for tools at all, and the second wall."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from claude_openai.claude.process import launcher
from claude_openai.claude.walls import folders, tool_walls
from claude_openai.claude.walls.file_guard import FileGuard
from claude_openai.protocol.turn.claude_options import Root
from claude_openai.runs.usage.rows import Amounts, RowKey
from claude_openai.runs.usage.store import UsageStore
from claude_openai.testing import Hang, RecordedRequest, Reply, Text, ToolUse
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.fake_cli import fake_cli
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until
from tests.real.own_tools import SECRET, Obedient, ask, in_each_mode

pytestmark = needs_claude

NOBODY: Final = 65534


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """`prefix` with the folders `link`, `move`, `more` and `gone`, `prefix2/work`, and the same names in `outside`."""
    for name in ("prefix/link", "prefix/move", "prefix/more", "prefix/gone", "prefix2/work"):
        (tmp_path / name).mkdir(parents=True)
        outside = tmp_path / "outside" / name
        outside.mkdir(parents=True)
        (outside / "f.txt").write_text(SECRET)
    return tmp_path


def exchange(top: Path) -> None:
    outside = top / "outside"
    (top / "prefix" / "link").rename(top / "old-link")
    (top / "prefix" / "link").symlink_to(outside / "prefix" / "link")
    (top / "prefix" / "move").rename(top / "prefix" / "old-move")
    (outside / "prefix" / "move").rename(top / "prefix" / "move")
    (top / "prefix" / "more").rename(top / "prefix" / "old-more")
    (top / "prefix" / "more").symlink_to(outside / "prefix" / "more")
    (top / "prefix" / "gone").rmdir()
    (top / "prefix2").rename(top / "old-prefix2")
    (top / "prefix2").symlink_to(outside / "prefix2")


@pytest.mark.long
@on_both_backends
async def test_a_folder_that_is_replaced_while_its_request_waits_is_refused_and_nothing_is_started(
    top: Path, backend: str
) -> None:
    asked: list[tuple[dict[str, Any], str]] = [
        ({"workingDirectory": str(top / "prefix" / "link")}, "claude.workingDirectory"),
        ({"workingDirectory": str(top / "prefix" / "move")}, "claude.workingDirectory"),
        ({"workingDirectory": str(top / "prefix" / "gone")}, "claude.workingDirectory"),
        ({"workingDirectory": str(top / "prefix2" / "work")}, "claude.workingDirectory"),
        (
            {"workingDirectory": str(top / "prefix"), "addDirs": [str(top / "prefix" / name) for name in ("", "more")]},
            "claude.addDirs[1]",
        ),
    ]
    errors: dict[int, dict[str, Any]] = {}

    async def wait_in_the_queue(served: Served, number: int) -> None:
        body = chat("Work.", claude={**asked[number][0], "toolMode": "safe"})
        async with Call.open(served.url, body) as call:
            status, answer = await call.answer()
        errors[number] = {"status": status, **answer["error"]}

    settings: dict[str, Any] = {
        "allowed_working_directory_prefixes": (top / "prefix", top / "prefix2"),
        "max_concurrency": 1,
    }
    async with serving(top, Reply(Text("one", Hang())), backend=backend, **settings) as served:
        async with Call.open(served.url, chat("Wait.", stream=True)) as slow, trio.open_nursery() as nursery:
            assert await slow.status() == 200
            await slow.until_text("one")
            started = await served.logged("process.start")
            for number in range(len(asked)):
                nursery.start_soon(wait_in_the_queue, served, number)
            await until(lambda: served.log_text().count('"event":"openai.effective_request"') == 6, "all of them wait")
            exchange(top)
            slow.leave()
        assert [(errors[n]["status"], errors[n]["code"], errors[n]["param"]) for n in range(len(asked))] == [
            (400, "folder_replaced", param) for _, param in asked
        ]
        assert await served.logged("process.start") == started
        assert len(served.api.requests) == 1


class Exchange:
    """Right after the first check of the folders, `work` becomes a link to `other`."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.checks = 0

    def __call__(self, roots: Iterable[Root]) -> None:
        folders.check_roots(roots)
        self.checks += 1
        if self.checks == 1:
            (self.top / "work").rename(self.top / "old")
            (self.top / "work").symlink_to(self.top / "other")


@pytest.fixture
def exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exchange:
    for name, words in (("work", "OWN"), ("other", SECRET)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.txt").write_text(words)
    exchanged = Exchange(tmp_path)
    monkeypatch.setattr(tool_walls, "check_roots", exchanged)
    return exchanged


@pytest.mark.long
@needs("/proc/PID/fd")
@on_both_backends
async def test_a_process_works_in_the_folder_that_was_checked_although_another_has_its_name(
    tmp_path: Path, exchanged: Exchange, backend: str
) -> None:
    claude = Obedient(
        ("Read", {"file_path": "f.txt"}),
        ("Read", {"file_path": str(tmp_path / "work" / "f.txt")}),
        ("Write", {"file_path": "new.txt", "content": "x"}),
        ("Bash", {"command": "cat f.txt; touch by-bash", "description": "x"}),
    )
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (tmp_path / "work",)}
    async with serving(tmp_path, claude, **settings) as served:
        await ask(served, {"toolMode": "all"})
    assert exchanged.checks == 1
    assert SECRET not in str(claude.received)
    # It has moved out of what was allowed, so its own files are not read by the tools either.
    assert [claude.received[f"toolu_{n}"][0] for n in range(3)] == [False] * 3
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["f.txt"]


@on_both_backends
async def test_where_no_descriptor_has_a_path_the_folders_are_compared_again_after_the_start(
    tmp_path: Path, exchanged: Exchange, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "BY_DESCRIPTOR", False)
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (tmp_path / "work",)}
    async with serving(tmp_path, Reply("ok"), **settings) as served:
        async with Call.open(served.url, chat("Work.", claude={"toolMode": "all"})) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["code"]) == (400, "folder_replaced")
        assert exchanged.checks == 1  # the second did not pass
        assert served.api.requests == []


@pytest.mark.long
async def test_a_live_conversation_is_not_continued_in_a_folder_that_was_replaced(top: Path) -> None:
    work = top / "prefix" / "move"
    said = [{"role": "user", "content": "Hello."}]
    claude = {"workingDirectory": str(work), "toolMode": "readonly"}
    async with serving(top, allowed_working_directory_prefixes=(top / "prefix",), max_idle_sessions=2) as served:
        answer = await ask(served, claude, said)
        said += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "Go on."}]
        exchange(top)
        assert (await ask(served, claude, said))["way"] == "replayed"


SHELL: Final = """
exec 3<>/dev/tcp/127.0.0.1/$1
printf 'POST /v1/chat/completions HTTP/1.1\\r\\nHost: 127.0.0.1:%s\\r\\nContent-Type: application/json\\r\\n' "$1" >&3
printf 'Connection: close\\r\\nContent-Length: %s\\r\\n\\r\\n%s' ${#2} "$2" >&3
cat <&3
"""


async def as_nobody(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Ask as another user of this machine."""
    argv = ["bash", "-c", SHELL, "bash", url.rpartition(":")[2], json.dumps(body)]
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
    done = await trio.run_process(argv, capture_stdout=True, **options)
    head, _, rest = done.stdout.decode().partition("\r\n\r\n")
    answer: dict[str, Any] = json.loads(rest)
    return int(head.split()[1]), answer


@pytest.mark.long
@needs("root", "bash")
async def test_another_user_gets_no_tools_without_a_key_unless_folders_were_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    tools = [chat("Work.", claude={"toolMode": mode}) for mode in ("readonly", "safe", "all")]
    async with serving(tmp_path) as served:
        for body in tools:
            status, answer = await as_nobody(served.url, body)
            assert (status, answer["error"]["code"]) == (403, "own_tools_not_allowed")
            assert "user 65534" in answer["error"]["message"] or "unknown user" in answer["error"]["message"]
        assert served.api.requests == []
        assert (await as_nobody(served.url, chat("Hi")))[0] == 200
        await ask(served, {"toolMode": "readonly"})  # the server's own user
    async with serving(tmp_path, allowed_working_directory_prefixes=(work,)) as served:
        assert (await as_nobody(served.url, tools[0]))[0] == 200


def let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first wall with a hole as large as itself."""

    def nothing(_self: FileGuard, _asked: object) -> None:
        return None

    monkeypatch.setattr(FileGuard, "check", nothing)


@pytest.mark.long
@in_each_mode
async def test_secrets_are_kept_by_rules_alone_in_every_mode(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_through(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home, key, work = tmp_path / "home", tmp_path / "the key (of mine)", tmp_path / "work"
    places = [
        *(home / name for name in (".ssh/id_rsa", ".aws/credentials", ".netrc", ".config/gcloud/x", ".claude.json")),
        *(home / "config" / name for name in (".credentials.json", "projects/-w/s.jsonl", "sessions/1.json")),
        *(home / ".claude" / "history.jsonl", tmp_path / "output" / "run.jsonl", key),
    ]
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    work.mkdir()
    (work / "link").symlink_to(home / ".ssh")
    (tmp_path / "open.txt").write_text("OPEN")
    guess = {"old_string": f"{SECRET}?", "new_string": "x"}
    uses: list[tuple[str, dict[str, Any]]] = [
        *(("Read", {"file_path": str(path)}) for path in places),
        *(("Grep", {"pattern": SECRET, "path": str(path), "output_mode": "content"}) for path in places),
        *(("Edit", {"file_path": str(path), **guess}) for path in places),
        ("Read", {"file_path": str(work / "link" / "id_rsa")}),
        ("Grep", {"pattern": SECRET, "path": str(home / ".ssh"), "output_mode": "content"}),
        ("Grep", {"pattern": SECRET, "path": str(tmp_path / "output"), "output_mode": "content"}),
        ("Read", {"file_path": str(tmp_path / "turns.jsonl")}),
        ("Read", {"file_path": str(tmp_path / "open.txt")}),
    ]
    claude = Obedient(*uses)
    settings: dict[str, Any] = {
        "allowed_working_directory_prefixes": (work,),
        "allow_bypass_permissions": True,
        "output_dir": tmp_path / "output",
        "private_files": (key,),
        "record": tmp_path / "turns.jsonl",
    }
    async with serving(tmp_path, claude, **settings) as served:
        await ask(served, {"toolMode": "safe", "permissionMode": mode})
    *secrets, opened = (claude.received[f"toolu_{n}"] for n in range(len(uses)))
    for use, (_, text) in zip(uses, secrets, strict=False):
        assert SECRET not in text, (use, text)
        assert '"program"' not in text, (use, text)  # of the cassette
        assert "not found in file" not in text, (use, text)  # whether a guess is right is hidden too
    if mode in ("plan", "auto", "bypassPermissions"):
        assert "OPEN" in opened[1]  # it was the rules that kept the others
    assert all(path.read_text() == SECRET for path in places)


@pytest.mark.parametrize("is_first_wall_open", [False, True], ids=["both walls", "the second wall alone"])
@pytest.mark.parametrize("setting", ["usage_file", "responses_file"])
async def test_file_of_a_setting_in_an_allowed_folder_is_kept_from_the_tools(
    tmp_path: Path, is_first_wall_open: bool, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_first_wall_open:
        let_through(monkeypatch)
    work = tmp_path / "work"
    work.mkdir()
    (work / "open.txt").write_text("OPEN")
    file, journal = work / "usage.db", work / "usage.db-journal"
    UsageStore(file).add({RowKey("2026-11-27", SECRET, "none"): Amounts(1)}, None)
    assert SECRET.encode() in file.read_bytes()
    journal.write_text(SECRET)
    uses: list[tuple[str, dict[str, Any]]] = [
        *(("Read", {"file_path": str(path)}) for path in (file, journal)),
        *(("Grep", {"pattern": SECRET, "path": str(path), "output_mode": "content"}) for path in (file, journal)),
        ("Edit", {"file_path": str(file), "old_string": SECRET, "new_string": "x"}),
        ("Write", {"file_path": str(journal), "content": "x"}),
        ("Read", {"file_path": str(work / "open.txt")}),
    ]
    claude = Obedient(*uses)
    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (work,), setting: file}
    async with serving(tmp_path, claude, **settings) as served:
        await ask(served, {"toolMode": "safe", "permissionMode": "acceptEdits", "workingDirectory": str(work)})
    *kept, opened = (claude.received[f"toolu_{n}"] for n in range(len(uses)))
    for use, (succeeded, text) in zip(uses, kept, strict=False):
        assert not succeeded, (use, text)
        assert SECRET not in text, (use, text)
    assert "OPEN" in opened[1]
    assert [RowKey("2026-11-27", SECRET, "none")] == [
        key for key in UsageStore(file).read("")[0] if key.model == SECRET
    ]


@pytest.mark.long
async def test_the_private_folder_of_the_server_is_kept_where_it_lies_in_an_allowed_one(tmp_path: Path) -> None:
    """Other clients' histories lie in it while their turns run."""
    received: list[str] = []

    def reply(request: RecordedRequest) -> Reply:
        results = [block for m in request.messages if isinstance(m["content"], list) for block in m["content"]]
        received.extend(str(block["content"]) for block in results if block["type"] == "tool_result")
        (private,) = (path for path in (tmp_path / "tmp").iterdir() if path.is_dir())
        transcript = next(private.glob("*.jsonl"))
        return Reply("Done.") if received else Reply(ToolUse("Read", {"file_path": str(transcript)}, "toolu_1"))

    said = [
        {"role": "user", "content": "One."},
        {"role": "assistant", "content": SECRET},
        {"role": "user", "content": "Two."},
    ]
    async with serving(tmp_path, reply, allowed_working_directory_prefixes=(tmp_path,)) as served:
        await ask(served, {"toolMode": "readonly", "workingDirectory": str(tmp_path)}, said)
    assert len(received) == 1
    assert SECRET not in received[0]


USES_A_TOOL: Final = r"""
say '{"type":"assistant","session_id":"s","uuid":"u","parent_tool_use_id":null,"message":{"model":"fake",'\
'"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"/etc/passwd"}}]}}'
say '{"type":"user","session_id":"s","uuid":"u","parent_tool_use_id":null,"message":{"role":"user",'\
'"content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"root:x:0:0"}]}}'
"""
WITHOUT_HOOKS: Final = r"""
initialized() {
  read -r line || exit 9
  id=${line#*'"request_id": "'}
  say '{"type":"control_response","response":{"subtype":"success","request_id":"'"${id%%\"*}"\
'","response":{"hooks_applied":false}}}'
}
"""


@on_both_backends
@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(f"asked\nbegin\n{USES_A_TOOL}\nsleep 100", id="it uses a tool and has not asked"),
        pytest.param(f"{WITHOUT_HOOKS}\nasked\nsleep 100", id="it has not registered the hook"),
    ],
)
async def test_a_claude_code_that_does_not_ask_before_it_uses_a_tool_is_ended(
    tmp_path: Path, backend: str, behaviour: str
) -> None:
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (tmp_path,)}
    async with serving(tmp_path, claude_command=fake_cli(tmp_path, behaviour), **settings) as served:
        async with Call.open(served.url, chat("Work.", claude={"toolMode": "readonly"})) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["type"]) == (502, "upstream_error")
        assert '"event":"sdk.own_tool_unasked"' in await served.whole_log()
        await served.processes.wait_no_claude()
