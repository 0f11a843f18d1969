"""Claude's own tools stay in the folders of the request.

Tested are every tool, every permission mode, both backends, sub-agents, and each way in which a turn gets its process.
Each test is one `claude` process in which the stand-in tries everything at once. It checks that the content of a file
is never seen and that nothing is written, not what prevented it.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.conditions import needs
from tests.real.harness import needs_claude, on_both_backends, serving, until
from tests.real.own_tools import MODES, OWN, SECRET, Obedient, Place, Use, ask, calls, in_each_mode, is_judge, results

pytestmark = needs_claude


@pytest.mark.long
@in_each_mode
@on_both_backends
async def test_files_outside_are_neither_read_nor_written_in_any_mode_and_by_no_agent(
    tmp_path: Path, place: Place, backend: str, mode: str
) -> None:
    outs, ins = place.ways_out(), place.ways_in()
    options: Use = ("Agent", {"description": "Look", "prompt": "Look for it.", "subagent_type": "general-purpose"})
    claude = Obedient(*outs, *ins, options)
    async with serving(tmp_path, claude, backend=backend, **place.settings) as served:
        await ask(served, {**place.claude, "toolMode": "all", "permissionMode": mode})
    claude.assert_held(place, len(outs), len(ins))
    claude.assert_held(place, len(outs), len(ins), prefix="toolu_agent")


@in_each_mode
async def test_files_inside_are_read_edited_and_written_by_the_mode(tmp_path: Path, place: Place, mode: str) -> None:
    a, by_link, new = (str(place.work / name) for name in ("a.txt", "within/b.txt", "new.txt"))
    steps: list[Use] = [
        ("Read", {"file_path": a}),
        ("Edit", {"file_path": a, "old_string": OWN, "new_string": "Edited"}),
        ("Read", {"file_path": by_link}),
        ("Edit", {"file_path": by_link, "old_string": OWN, "new_string": "Edited"}),
        ("Write", {"file_path": new, "content": "new"}),
        ("Write", {"file_path": str(place.more / "new.txt"), "content": "new"}),
    ]

    def reply(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        done = len(results(request))
        return Reply(ToolUse(*steps[done], id=f"toolu_{done}")) if done < len(steps) else Reply("Done.")

    async with serving(tmp_path, reply, **place.settings) as served:
        await ask(served, {**place.claude, "toolMode": "safe", "permissionMode": mode})
    files = [place.work / "a.txt", place.work / "inner" / "b.txt", place.work / "new.txt", place.more / "new.txt"]
    is_done = ["Edited" in file.read_text() or file.read_text() == "new" for file in files if file.exists()]
    assert is_done == ([False, False] if mode in ("default", "plan") else [True] * 4)


@pytest.mark.long
@on_both_backends
@pytest.mark.parametrize("ends", ["in words", "in results"])
async def test_replayed_history_has_the_same_walls(tmp_path: Path, place: Place, backend: str, ends: str) -> None:
    """A history that ends in results goes on without a prompt: before `initialize`, if it were let."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Nothing."},
    ]
    if ends == "in words":
        said += [{"role": "assistant", "content": "Nothing."}, {"role": "user", "content": "Work."}]
    outs = place.ways_out()
    claude = Obedient(*outs)
    async with serving(tmp_path, claude, backend=backend, **place.settings) as served:
        answer = await ask(served, {**place.claude, "toolMode": "safe", "permissionMode": "plan"}, said)
    assert answer["way"] == "replayed"
    claude.assert_held(place, len(outs), 0)


@pytest.mark.long
async def test_a_conversation_that_is_kept_open_has_the_same_walls_in_its_next_turn(
    tmp_path: Path, place: Place
) -> None:
    outs = place.ways_out()
    first, second = Obedient(prefix="first"), Obedient(*outs, prefix="second")
    claude = {**place.claude, "toolMode": "readonly", "permissionMode": "auto"}
    said = [{"role": "user", "content": "Hello."}]

    def reply(request: RecordedRequest) -> Reply:
        return second(request) if "Work." in str(request.messages) else first(request)

    # A spare that waits has no tools, and must not be taken for a conversation with some.
    async with serving(tmp_path, reply, max_idle_sessions=2, spares=1, **place.settings) as served:
        await until(lambda: len(served.processes.claudes()) == 1, "a spare is there")
        answer = await ask(served, claude, said)
        assert answer["way"] == "new"
        said += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "Work."}]
        # Its effort is another, sent in settings that must not replace the first ones.
        assert (await ask(served, claude, said, reasoning_effort="low"))["way"] == "continued"
    second.assert_held(place, len(outs), 0)


@pytest.mark.long
@on_both_backends
async def test_pipe_or_device_blocks_no_call(tmp_path: Path, place: Place, backend: str) -> None:
    fifo = str(place.work / "fifo")
    notebook = place.work / "fifo.ipynb"
    os.mkfifo(notebook)
    uses: list[Use] = [
        ("Read", {"file_path": fifo}),
        ("Read", {"file_path": "/dev/zero"}),
        ("Grep", {"pattern": "x", "path": fifo}),
        ("Edit", {"file_path": fifo, "old_string": "a", "new_string": "b"}),
        ("Write", {"file_path": fifo, "content": "x"}),
        ("NotebookEdit", {"notebook_path": str(notebook), "cell_id": "1", "new_source": "x"}),
    ]
    claude = Obedient(*uses)
    async with serving(tmp_path, claude, backend=backend, **place.settings) as served:
        await ask(served, {**place.claude, "toolMode": "safe", "permissionMode": "plan"})
        await until(lambda: '"event":"sdk.own_tool_denied"' in served.log_text(), "the log has it")
    assert [succeeded for succeeded, _ in claude.received.values()] == [False] * len(uses)
    # A folder with one in it is searched all the same.
    assert "not a regular file" in claude.received["toolu_0"][1]


@pytest.mark.long
async def test_a_plan_is_written_where_claude_code_keeps_plans_and_nowhere_else(tmp_path: Path, place: Place) -> None:
    received: dict[str, tuple[bool, str]] = {}

    def reply(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        received.update(results(request))
        said = str(request.body)
        plan = said.partition("create your plan at ")[2].split()[0]
        plans = str(Path(plan).parent)
        if received:
            return Reply("Done.")
        return Reply(
            *calls(
                "toolu",
                [
                    ("Write", {"file_path": plan, "content": "the plan"}),
                    ("Read", {"file_path": plan}),
                    ("Write", {"file_path": f"{plans}/of-another.md", "content": "x"}),
                    ("Read", {"file_path": f"{plans}/other.md"}),
                    ("Read", {"file_path": f"{plans}/../.claude.json"}),
                ],
            )
        )

    plans = tmp_path / "home" / "config" / "plans"
    plans.mkdir(parents=True)
    (plans / "other.md").write_text(SECRET)
    async with serving(tmp_path, reply, **place.settings) as served:
        await ask(served, {**place.claude, "toolMode": "safe", "permissionMode": "plan"})
    assert [received[f"toolu_{n}"][0] for n in range(5)] == [True, True, False, False, False]
    assert "the plan" in received["toolu_1"][1]
    assert [path.read_text() for path in plans.iterdir()] == [SECRET]  # what it made is gone with it


@pytest.mark.long
@on_both_backends
async def test_a_result_that_is_too_long_can_be_read_from_its_file(tmp_path: Path, place: Place, backend: str) -> None:
    many = place.work / "many"
    many.mkdir()
    for number in range(400):
        (many / f"{number:03}.txt").write_text(f"needle {'x' * 300} {number}\n")
    received: dict[str, tuple[bool, str]] = {}

    def reply(request: RecordedRequest) -> Reply:
        received.update(results(request))
        in_agent = "Look for it." in str(request.messages[0])
        mine = [call_id for call_id in results(request) if call_id.startswith("agent" if in_agent else "toolu")]
        prefix = "agent" if in_agent else "toolu"
        if not mine:
            grep = {"pattern": "needle", "output_mode": "content", "head_limit": 0}
            return Reply(ToolUse("Grep", grep, f"{prefix}_1"))
        if len(mine) == 1:
            saved = received[f"{prefix}_1"][1].partition("saved to: ")[2].split("\\n")[0].split()[0]
            return Reply(ToolUse("Read", {"file_path": saved, "limit": 3}, f"{prefix}_2"))
        if in_agent or "toolu_3" in mine:
            return Reply("Done.")
        options = {"description": "Look", "prompt": "Look for it.", "subagent_type": "general-purpose"}
        return Reply(ToolUse("Agent", options, "toolu_3"))

    async with serving(tmp_path, reply, backend=backend, **place.settings) as served:
        await ask(served, {**place.claude, "toolMode": "all", "permissionMode": "acceptEdits"})
    for prefix in ("toolu", "agent"):
        assert "Output too large" in received[f"{prefix}_1"][1]
        assert received[f"{prefix}_2"][0], received
        assert "needle" in received[f"{prefix}_2"][1]


def hostile_repository(work: Path, hits: Path) -> None:
    """A folder in which `git status` and `git diff` run a program of its own in each of five ways."""

    def git(*words: str) -> None:
        options = ("-c", "user.email=a", "-c", "user.name=a", "-c", "init.defaultBranch=main")
        subprocess.run(["git", "-C", work, *options, *words], check=True, capture_output=True)

    hits.mkdir()
    git("init", "-q")
    for name in ("a", "b.bin"):
        (work / name).write_text("1\n")
    git("add", "a", "b.bin")
    git("commit", "-qm", "x")
    for name in ("a", "b.bin"):
        (work / name).write_text("2\n")
    git("config", "core.fsmonitor", f"touch {hits}/fsmonitor #")
    git("config", "filter.x.clean", f"touch {hits}/filter; cat")
    git("config", "diff.external", f"touch {hits}/external #")
    git("config", "diff.x.textconv", f"touch {hits}/textconv; cat")
    hook = work / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {hits}/hook\n")
    hook.chmod(0o755)
    (work / ".gitattributes").write_text("a filter=x\nb.bin diff=x\n")
    for hit in hits.iterdir():
        hit.unlink()


GIT: Final = (
    *("git status", "git diff", "git log -p -1", "git show --textconv", "git diff --no-ext-diff", "git -C . status"),
    *(
        "cd . && env git diff",
        "ls; git status",
        "echo $(git status)",
        "cat <(git diff)",
        "'git' status",
        'g""it status',
    ),
    *("/usr/bin/git status", "command git status", "timeout 5 git status", "bash -c 'git status'", "eval git status"),
    *("if true; then git status; fi", "git ls-files -m", "git blame a", "git grep 1", "git describe --always --dirty"),
    *("find . -maxdepth 0 -exec git status \\;", "X=1 git status", "git\\\n status", "xargs git status < /dev/null"),
)


@pytest.mark.long
@needs("git")
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "bypassPermissions"])
async def test_a_hostile_repository_runs_none_of_its_programs_where_not_everything_is_allowed(
    tmp_path: Path, place: Place, mode: str
) -> None:
    hits = tmp_path / "hits"
    hostile_repository(place.work, hits)
    worktree = {"description": "x", "prompt": "Look.", "subagent_type": "general-purpose", "isolation": "worktree"}
    claude = Obedient(*(("Bash", {"command": command, "description": "x"}) for command in GIT), ("Agent", worktree))
    async with serving(tmp_path, claude, **place.settings) as served:
        await ask(served, {**place.claude, "toolMode": "all", "permissionMode": mode})
    assert {call_id: succeeded for call_id, (succeeded, _) in claude.received.items() if succeeded} == {}
    assert len(claude.received) == len(GIT) + 1
    assert list(hits.iterdir()) == []
    assert not (place.work / ".claude").exists()
