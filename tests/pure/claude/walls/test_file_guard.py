"""Which calls of Claude Code's own tools are let through: the whole table, on a real file system."""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_openai.claude.walls.file_guard import Denied, FileGuard
from claude_openai.claude.walls.folders import root_of
from claude_openai.claude.walls.own_tools import TOOLS
from claude_openai.protocol.turn.claude_options import PERMISSION_MODES, ClaudeOptions, PermissionMode, ToolMode

SESSION: Final = "0084dc6f-ca3a-413a-aa8f-851622671e44"
MODES: Final = (*PERMISSION_MODES, None)
OUTSIDE: Final = (
    *("outside/f.txt", "outside", "work/to-file", "work/to-folder/f.txt", "work/to-folder", "work/../outside/f.txt"),
    *("work/inner/../../outside/f.txt", "work/to-folder/../f.txt", "work-not/f.txt", "work/dangling", "work/circle"),
    *("work/none/../../outside/f.txt", "work/to-none/f.txt", "home/.ssh/id_rsa", "home/.claude/plans/other.md"),
)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder `work` that is allowed, `more` that is too, and others that are not."""
    top = Path(os.path.realpath(tmp_path))
    for name in ("work/inner", "more", "outside", "work-not", "home/.ssh", "home/.claude/plans"):
        (top / name).mkdir(parents=True)
    for name in ("work/a.txt", "work/inner/b.txt", "work/n.ipynb", "more/m.txt", "outside/f.txt", "work-not/f.txt"):
        (top / name).write_text("text")
    for name in ("home/.ssh/id_rsa", "home/.claude/plans/other.md"):
        (top / name).write_text("text")
    links = {
        "to-file": "outside/f.txt",
        "to-folder": "outside",
        "to-none": "outside/none-either",
        "to-a": "work/a.txt",
        "within": "work/inner",
        "dangling": "outside/none",
        "circle": "work/circle",
    }
    for name, target in links.items():
        (top / "work" / name).symlink_to(top / target)
    os.mkfifo(top / "work" / "fifo")
    return top


def options(top: Path, **fields: Any) -> ClaudeOptions:
    roots = (root_of(str(top / "work"), "claude.workingDirectory"), root_of(str(top / "more"), "claude.addDirs[0]"))
    return ClaudeOptions(**{"tool_mode": "all", "permission_mode": "default", "roots": roots, **fields})


def guard(top: Path, **fields: Any) -> FileGuard:
    return FileGuard(options(top, **fields), home=str(top / "home"), config=str(top / "home" / ".claude"))


def check(guard: FileGuard, top: Path, tool: str, **given: Any) -> dict[str, Any] | None:
    transcript = str(top / "home" / ".claude" / "projects" / "-work" / "of-this-session.jsonl")
    asked = {"tool_name": tool, "tool_input": given, "cwd": str(top / "work"), "transcript_path": transcript}
    return guard.check(asked)


def denied(guard: FileGuard, top: Path, tool: str, **given: Any) -> str:
    # Every exception is a denial (see test_permissions); most should have a reason for Claude.
    with pytest.raises((Denied, OSError)) as raised:
        check(guard, top, tool, **given)
    return str(raised.value)


def file_call(tool: str, path: object) -> dict[str, Any]:
    return {"notebook_path" if tool == "NotebookEdit" else "file_path": path}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tool", ["Read", "Edit", "Write", "NotebookEdit"])
def test_files_outside_of_the_folders_are_denied_in_every_mode(top: Path, tool: str, mode: PermissionMode) -> None:
    for name in OUTSIDE:
        denied(guard(top, permission_mode=mode), top, tool, **file_call(tool, f"{top}/{name}"))
    for path in ("/etc/passwd", "/", "//etc/passwd", f"{top}/work/a.txt\0", f"{top}/work/a.txt/b"):
        with pytest.raises((Denied, OSError, ValueError)):
            check(guard(top, permission_mode=mode), top, tool, **file_call(tool, path))


@pytest.mark.parametrize("mode", MODES)
def test_searches_outside_of_the_folders_are_denied_in_every_mode(top: Path, mode: PermissionMode) -> None:
    it = guard(top, permission_mode=mode)
    for name in OUTSIDE:
        denied(it, top, "Grep", pattern="x", path=f"{top}/{name}")
        denied(it, top, "Glob", pattern="*", path=f"{top}/{name}")
    for path in ("..", "~", "~/.ssh", "to-folder", "to-folder/", "inner/../..", "to-file", "/"):
        denied(it, top, "Grep", pattern="x", path=path)
        denied(it, top, "Glob", pattern="*", path=path)


@pytest.mark.parametrize(
    "pattern",
    [
        *("TOP/outside/*", "TOP/outside/f.txt", "TOP/work/../outside/*", "TOP/work/to-folder/*", "/etc/*", "/*", "/**"),
        *("to-folder/*", "to-folder/**/*.txt", "../outside/*", "..", "inner/../../outside/*", "*/../../outside/*"),
        *(
            "{../outside,x}/*",
            "{x,../outside}/*",
            "{TOP/outside,/x}/*",
            "{x,~}/*",
            "~/*",
            "~",
            "TOP/work/\\to-folder/*",
        ),
        *("TOP/work/to-f*/../../outside/*", "[a]/../x", "TOP/{work,outside}/*", "TOP/work*/*"),
    ],
)
def test_glob_patterns_that_lead_out_of_the_folders_are_denied(top: Path, pattern: str) -> None:
    denied(guard(top), top, "Glob", pattern=pattern.replace("TOP", str(top)))
    denied(guard(top), top, "Glob", pattern=pattern.replace("TOP", str(top)), path=str(top / "work"))


@pytest.mark.parametrize(
    "pattern", ["*", "**/*.{ts,tsx}", "inner/*", "[ab].txt", "app/\\[id\\]/*", "none/*", "within/*"]
)
def test_glob_patterns_in_the_folder_are_left_alone(top: Path, pattern: str) -> None:
    assert check(guard(top), top, "Glob", pattern=pattern) is None


def test_a_link_whose_name_looks_like_a_pattern_is_found_out(top: Path) -> None:
    (top / "work" / "[x]").symlink_to(top / "outside")
    denied(guard(top), top, "Glob", pattern="[x]/*")
    denied(guard(top), top, "Glob", pattern=f"{top}/work/[x]/*")


@pytest.mark.parametrize("mode", MODES)
def test_what_is_in_the_folders_is_left_to_the_mode(top: Path, mode: PermissionMode) -> None:
    it = guard(top, permission_mode=mode)
    for name in ("work/a.txt", "work/inner/b.txt", "work/new/er.txt", "more/m.txt", "more/new.txt"):
        for tool in ("Read", "Edit", "Write", "NotebookEdit"):
            assert check(it, top, tool, **file_call(tool, f"{top}/{name}")) is None
    assert check(it, top, "Grep", pattern="x") is None
    assert check(it, top, "Glob", pattern="*") is None
    for name in ("work/inner", "more", "work", "work/none"):
        assert check(it, top, "Grep", pattern="x", path=f"{top}/{name}") is None
        assert check(it, top, "Glob", pattern="*", path=f"{top}/{name}") is None


def test_claude_code_gets_the_resolved_path_and_the_rest_of_the_input(top: Path) -> None:
    it, work = guard(top), top / "work"
    real = {"file_path": str(work / "inner" / "b.txt"), "limit": 5}
    assert check(it, top, "Read", file_path=str(work / "within" / "b.txt"), limit=5) == real
    assert check(it, top, "Edit", file_path=str(work / "to-a"), old_string="x")["file_path"] == str(work / "a.txt")  # type: ignore[index]
    assert check(it, top, "Write", file_path=str(work / "within" / "new")) == {"file_path": str(work / "inner/new")}
    assert check(it, top, "Read", file_path=f"{work}/./inner/../a.txt") == {"file_path": str(work / "a.txt")}
    assert check(it, top, "Grep", pattern="x", path="within") == {"pattern": "x", "path": str(work / "inner")}
    assert check(it, top, "Glob", pattern="*", path="../more") == {"pattern": "*", "path": str(top / "more")}
    in_link = {"pattern": f"{work}/within/*"}
    assert check(it, top, "Glob", **in_link) == {"pattern": f"{work}/inner/*"}


def test_only_regular_files_are_opened_and_only_folders_are_listed(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, work = guard(top), top / "work"
    for tool in ("Read", "Edit", "Write", "NotebookEdit"):
        assert "not a regular file" in denied(it, top, tool, **file_call(tool, str(work / "fifo")))
        assert "not a regular file" in denied(it, top, tool, **file_call(tool, str(work / "inner")))
    assert "not a" in denied(it, top, "Grep", pattern="x", path="fifo")
    assert "not a folder" in denied(it, top, "Glob", pattern="*", path="a.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(work)  # the path of a socket must be short
        listener.bind("socket")
        assert "not a regular file" in denied(it, top, "Read", file_path=str(work / "socket"))


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/self/root/etc/hostname", "/dev/zero", "/sys/kernel"])
def test_special_folders_are_denied_even_where_everything_is_allowed(top: Path, path: str) -> None:
    everything = options(top, roots=(root_of("/", "claude.workingDirectory"),))
    it = FileGuard(everything, home=str(top / "home"), config=str(top / "home/.claude"))
    for tool in ("Read", "Write"):
        assert "not a file of a project" in denied(it, top, tool, file_path=path)
    assert "not a file of a project" in denied(it, top, "Grep", pattern="x", path=path)
    assert "not a file of a project" in denied(it, top, "Glob", pattern="*", path=str(Path(path).parent))
    assert check(it, top, "Read", file_path=str(top / "outside" / "f.txt")) is None


def test_replaced_folder_is_no_longer_allowed(top: Path) -> None:
    it = guard(top)
    (top / "work").rename(top / "work.old")
    (top / "outside").rename(top / "work")
    assert "replaced" in denied(it, top, "Read", file_path=f"{top}/work/f.txt")
    (top / "work").rename(top / "outside")
    (top / "work").symlink_to(top / "outside")
    assert "outside the allowed folders" in denied(it, top, "Read", file_path=f"{top}/work/f.txt")


def test_without_checked_folders_there_is_no_file_to_read(top: Path) -> None:
    assert "none" in denied(guard(top, roots=()), top, "Read", file_path=f"{top}/work/a.txt")


@pytest.mark.parametrize("mode", get_args(ToolMode))
def test_only_the_tools_of_the_mode_are_let_through(top: Path, mode: ToolMode) -> None:
    inputs = {
        **{tool: file_call(tool, f"{top}/work/a.txt") for tool in ("Read", "Edit", "Write", "NotebookEdit")},
        "Glob": {"pattern": "*"},
        "Grep": {"pattern": "x"},
        "Bash": {"command": "ls"},
        "Agent": {"prompt": "Look."},
        "TaskStop": {"task_id": "1"},
        "WebFetch": {"url": "https://example.com/", "prompt": "x"},
        "WebSearch": {"query": "x"},
    }
    assert set(inputs) == set(TOOLS["all"])
    for tool, its_input in inputs.items():
        if tool in TOOLS[mode]:
            assert check(guard(top, tool_mode=mode), top, tool, **its_input) is None
        else:
            assert "not available" in denied(guard(top, tool_mode=mode), top, tool, **its_input)


def test_the_clients_own_tools_and_structured_output_pass_and_any_other_is_denied(top: Path) -> None:
    for mode in get_args(ToolMode):
        it = guard(top, tool_mode=mode)
        assert check(it, top, "mcp__openai__Read", file_path="/etc/passwd") is None
        assert check(it, top, "StructuredOutput", anything=1) is None
        for other in ("Task", "LS", "read", "mcp__other__Read", "mcp__openai", "", "ExitPlanMode", "KillShell"):
            denied(it, top, other, file_path=f"{top}/work/a.txt")


def test_a_tool_that_the_table_of_checks_lacks_is_denied(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_openai.claude.walls.file_guard.TOOLS", {"all": ("Telepathy",)})
    assert "does not know" in denied(guard(top), top, "Telepathy")


@pytest.mark.parametrize(
    "command",
    [
        *("git status", "git", "ls; git diff", "cd . && env git diff", "/usr/bin/git log", "bash -c 'git status'"),
        *("$(git status)", "`git status`", "git-log", "GIT status", "find . -exec git status \\;", "a=git; $a status"),
    ],
)
def test_git_is_run_only_where_everything_is_allowed_on_purpose(top: Path, command: str) -> None:
    for mode in MODES:
        it = guard(top, permission_mode=mode)
        if mode == "bypassPermissions":
            assert check(it, top, "Bash", command=command) is None
        else:
            assert "git is not available" in denied(it, top, "Bash", command=command)


@pytest.mark.parametrize(
    "command", ["ls", "cat .gitignore", "ls .git/hooks", "echo digit legit", "cat a.git b/git.txt"]
)
def test_other_commands_are_left_to_the_mode(top: Path, command: str) -> None:
    assert check(guard(top), top, "Bash", command=command) is None


def test_agents_do_not_make_folders_of_their_own_unless_everything_is_allowed(top: Path) -> None:
    assert "isolation" in denied(guard(top), top, "Agent", prompt="Look.", isolation="worktree")
    assert (
        check(guard(top, permission_mode="bypassPermissions"), top, "Agent", prompt="x", isolation="worktree") is None
    )


def test_a_plan_is_written_in_plan_mode_alone_and_only_to_a_new_file(top: Path) -> None:
    plans = top / "home" / ".claude" / "plans"
    it = guard(top, permission_mode="plan")
    denied(it, top, "Read", file_path=str(plans / "new.md"))
    denied(it, top, "Edit", file_path=str(plans / "new.md"))
    assert check(it, top, "Write", file_path=str(plans / "new.md")) is None
    (plans / "new.md").write_text("plan")
    for tool in ("Read", "Edit", "Write"):
        assert check(it, top, tool, file_path=str(plans / "new.md")) is None
        denied(it, top, tool, file_path=str(plans / "other.md"))
        denied(guard(top, permission_mode="plan"), top, tool, file_path=str(plans / "new.md"))
    for path in (
        plans / "new.txt",
        plans / "deeper" / "new.md",
        plans.parent / "new.md",
        plans.parent / "settings.json",
    ):
        denied(it, top, "Write", file_path=str(path))
    denied(it, top, "NotebookEdit", notebook_path=str(plans / "new2.md"))
    for mode in MODES:
        if mode != "plan":
            denied(guard(top, permission_mode=mode), top, "Write", file_path=str(plans / "new2.md"))


def test_a_plan_that_is_a_link_leads_nowhere(top: Path) -> None:
    plans = top / "home" / ".claude" / "plans"
    (plans / "link.md").symlink_to(top / "home" / ".ssh" / "new")
    denied(guard(top, permission_mode="plan"), top, "Write", file_path=str(plans / "link.md"))


@pytest.mark.parametrize("mode", MODES)
def test_long_results_are_read_and_searched_but_nothing_else_of_claude_code(top: Path, mode: PermissionMode) -> None:
    projects = top / "home" / ".claude" / "projects"
    for name in (f"-work/{SESSION}", f"-other/{SESSION}", "-work/memory"):
        (projects / name / "tool-results" / "deeper").mkdir(parents=True)
        (projects / name / "tool-results" / "b.txt").write_text("long")
        (projects / name / "tool-results" / "deeper" / "b.txt").write_text("long")
    it, mine = guard(top, permission_mode=mode), projects / "-work" / SESSION
    assert check(it, top, "Read", file_path=str(mine / "tool-results/b.txt"), limit=9) is None
    assert check(it, top, "Grep", pattern="x", path=str(mine / "tool-results/b.txt")) is None
    for tool in ("Write", "Edit", "NotebookEdit"):
        denied(it, top, tool, **file_call(tool, str(mine / "tool-results/b.txt")))
    (mine / "tool-results" / "link").symlink_to(top / "outside" / "f.txt")
    (mine.parent / f"{SESSION}.jsonl").write_text("a transcript")
    for name in (
        f"-other/{SESSION}/tool-results/b.txt",
        "-work/memory/tool-results/b.txt",
        f"-work/{SESSION}/tool-results/deeper/b.txt",
        f"-work/{SESSION}/tool-results/link",
        f"-work/{SESSION}/tool-results",
        f"-work/{SESSION}",
        f"-work/{SESSION}.jsonl",
        f"-work/{SESSION}/tool-results/../../{SESSION}.jsonl",
    ):
        denied(it, top, "Read", file_path=str(projects / name))
        denied(it, top, "Grep", pattern="x", path=str(projects / name))
    denied(it, top, "Glob", pattern="*", path=str(mine / "tool-results"))


def test_a_transcript_elsewhere_opens_no_results(top: Path) -> None:
    config = top / "home" / ".claude"
    results = [folder / SESSION / "tool-results" / "b.txt" for folder in (top / "outside", config, config / "else")]
    for path in results:
        path.parent.mkdir(parents=True)
        path.write_text("")
    folders = (top / "outside", config, config / "else", Path("/"), Path())
    for transcript in (*(folder / "s.jsonl" for folder in folders), *folders):
        for path in (*results, config / "plans" / "other.md"):
            asked = {"tool_name": "Read", "tool_input": {"file_path": str(path)}, "cwd": str(top / "work")}
            with pytest.raises(Denied):
                guard(top).check({**asked, "transcript_path": str(transcript)})


odd = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
)


@given(
    tool=st.sampled_from([*TOOLS["all"], "Unknown"]) | odd,
    given=odd | st.dictionaries(st.sampled_from(["file_path", "notebook_path", "path", "pattern", "command"]), odd),
    cwd=odd,
    transcript=odd,
    missing=st.sets(st.sampled_from(["tool_name", "tool_input", "cwd", "transcript_path"])),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_input_never_names_a_path_outside(
    top: Path, tool: Any, given: Any, cwd: Any, transcript: Any, missing: set[str]
) -> None:
    whole = {"tool_name": tool, "tool_input": given, "cwd": cwd, "transcript_path": transcript}
    asked = {key: value for key, value in whole.items() if key not in missing}
    it = guard(top, tool_mode="safe")
    try:
        changed = it.check(asked)
    except Exception:  # noqa: BLE001 - every exception is a denial
        return
    # What is let through without a path is a search of the working folder, which an odd one is not.
    assert changed is None or all(str(top / "work") in str(value) for value in changed.values())


paths = st.lists(
    st.sampled_from(
        ["..", ".", "work", "inner", "to-folder", "within", "to-a", "outside", "f.txt", "none", "", "more"]
    ),
    max_size=7,
).map("/".join)


@given(path=paths)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_allowed_path_is_inside_by_the_kernels_resolution(top: Path, path: str) -> None:
    asked = f"{top}/work/{path}"
    try:
        changed = check(guard(top), top, "Read", file_path=asked)
    except (Denied, OSError):
        return
    used = asked if changed is None else changed["file_path"]
    assert ".." not in used.split("/")
    inside = [top / "work", top / "more"]
    assert any(Path(os.path.realpath(used)).is_relative_to(folder) for folder in inside)


def test_the_roots_of_other_requests_do_not_count(top: Path) -> None:
    only_more = replace(options(top), roots=(root_of(str(top / "more"), "claude.workingDirectory"),))
    it = FileGuard(only_more, home=str(top / "home"), config=str(top / "home/.claude"))
    denied(it, top, "Read", file_path=f"{top}/work/a.txt")
    denied(it, top, "Grep", pattern="x")  # the working folder of the call is another
