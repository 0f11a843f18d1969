"""Whose a file is that a process left, and what a ledger that was planted can do: nothing."""

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from claude_openai.claude.leftovers import sweep as leftovers
from claude_openai.claude.leftovers.ledger import Ledger, recover
from claude_openai.claude.leftovers.sweep import Leftovers, start_time, sweep, sweep_ledger
from tests.conditions import needs

DEAD_PID = 4194304  # the highest that Linux can give is one less


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("sessions", "session-env", "shell-snapshots", "projects"):
        (tmp_path / "home" / ".claude" / name).mkdir(parents=True)
    return tmp_path / "home" / ".claude"


@pytest.fixture
def left(tmp_path: Path, config: Path) -> Leftovers:
    return Leftovers(
        pid=DEAD_PID,
        started="4711",
        spawned=time.time() - 10,
        session=str(uuid.uuid4()),
        config=str(config),
        home=str(tmp_path / "home"),
        runtime=str(tmp_path / "run"),
        caches=str(tmp_path / "caches"),
        project="-work",
        mark="/tmp/claude-openai-abcdefgh/tmp-ijklmnop/bin",  # noqa: S108 - a name
    )


def put(path: Path, text: str = "", *, at: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def entries(left: Leftovers, **changes: object) -> str:
    return json.dumps(
        {"pid": left.pid, "sessionId": left.session, "procStart": left.started, **changes}, separators=(",", ":")
    )


def test_its_entry_and_its_key_are_removed_whenever_it_ended(left: Leftovers, config: Path) -> None:
    entry = put(config / "sessions" / f"{left.pid}.json", entries(left))
    key = put(config / "sessions" / f"{left.pid}.0a.key", f'{{"procStart":"{left.started}"}}')
    assert sweep(left, ended=None) == []
    assert not entry.exists()
    assert not key.exists()


def test_an_entry_of_another_process_with_its_pid_is_left(left: Leftovers, config: Path) -> None:
    ended = time.time() + 1  # it may be in another container, at the same time
    entry = put(config / "sessions" / f"{left.pid}.json", entries(left, sessionId="other", procStart="4712"))
    key = put(config / "sessions" / f"{left.pid}.0a.key", '{"procStart":"4712"}')
    longer = put(config / "sessions" / f"{left.pid}1.json", entries(left))
    for when in (ended, None):
        assert sweep(left, ended=when) == []
        assert all(path.exists() for path in (entry, key, longer))


@pytest.mark.parametrize(
    "name", ["sessions/{pid}.0a.key.tmp.1f", ".claude.json.tmp.{pid}.0a1b", "../../run/cc-socks/{pid}.sock"]
)
def test_file_with_only_a_pid_is_removed_if_written_during_its_life(left: Leftovers, config: Path, name: str) -> None:
    path = config / name.format(pid=left.pid)
    ended = time.time() - 5
    for at in (left.spawned - 1, ended + 1):
        put(path, at=at)
        assert sweep(left, ended=ended) == []
        assert path.exists()
    put(path, at=ended - 1)
    assert sweep(left, ended=None) == []
    assert path.exists()
    assert sweep(left, ended=ended) == []
    assert not path.exists()


def test_a_snapshot_is_removed_if_its_path_is_that_of_the_process(left: Leftovers, config: Path) -> None:
    own = put(
        config / "shell-snapshots" / "snapshot-zsh-1-a.sh", "f() {\n}\n" * 9999 + f"export PATH=/bin:{left.mark}\n"
    )
    other = put(config / "shell-snapshots" / "snapshot-bash-2-b.sh", "export PATH=/bin\n")
    assert sweep(left, ended=time.time()) == []
    assert not own.exists()
    assert other.exists()


def test_folders_of_the_session_and_then_empty_ones_are_removed(left: Leftovers, config: Path) -> None:
    put(config / "session-env" / left.session / "hook.sh")
    put(config / "projects" / "-work" / left.session / "subagents" / "a.json")
    put(Path(left.caches) / "-work" / "mcp-logs-openai" / "now.jsonl", f'{{"sessionId":"{left.session}"}}\n')
    other = put(Path(left.caches) / "-other" / "mcp-logs-openai" / "now.jsonl", f'{{"sessionId":"{left.session}"}}\n')
    assert sweep(left, ended=None) == []
    assert names(config / "session-env") == names(config / "projects") == []
    assert names(Path(left.caches)) == ["-other"]
    assert other.exists()


def test_a_folder_that_has_more_in_it_is_left(left: Leftovers, config: Path) -> None:
    put(config / "projects" / "-work" / left.session / "a.json")
    mine = put(config / "projects" / "-work" / "other.jsonl")
    log = put(Path(left.caches) / "-work" / "mcp-logs-openai" / "now.jsonl", '{"sessionId":"other"}\n')
    assert sweep(left, ended=time.time()) == []
    assert mine.exists()
    assert log.exists()


def test_a_plan_and_long_results_that_it_was_seen_to_make_are_removed(left: Leftovers, config: Path) -> None:
    long_results, with_transcript, of_another_folder = (str(uuid.uuid4()) for _ in range(3))
    own = put(config / "projects" / "-work" / long_results / "tool-results" / "b1.txt")
    kept = [
        put(config / "projects" / "-work" / with_transcript / "tool-results" / "b1.txt"),
        put(config / "projects" / "-work" / f"{with_transcript}.jsonl"),
        put(config / "projects" / "-other" / of_another_folder / "tool-results" / "b1.txt"),
        put(config / "plans" / "theirs.md"),
    ]
    plan = put(config / "plans" / "ours.md")
    folders = ("-work/" + long_results, "-work/" + with_transcript, "-other/" + of_another_folder)
    made = ("plans/ours.md", *(f"projects/{folder}" for folder in folders))
    assert sweep(replace(left, made=made), ended=None) == []
    assert not own.parent.parent.exists()
    assert not plan.exists()
    assert all(path.exists() for path in kept)


def test_no_link_is_followed(left: Leftovers, config: Path, tmp_path: Path) -> None:
    aim = put(tmp_path / "aim.json", entries(left))
    (config / "sessions" / f"{left.pid}.json").symlink_to(aim)
    (tmp_path / "folder").mkdir()
    kept = put(tmp_path / "folder" / "kept")
    (config / "session-env" / left.session).symlink_to(tmp_path / "folder")
    assert len(sweep(left, ended=time.time())) == 1  # the link to a folder: it is not a folder
    assert aim.exists()
    assert kept.exists()


def test_file_that_cannot_be_removed_is_reported(left: Leftovers, config: Path) -> None:
    folder = config / "sessions" / f"{left.pid}.folder"
    folder.mkdir()
    (failure,) = sweep(left, ended=time.time() + 1)
    assert failure.startswith(f"{folder}: ")


def test_the_long_name_of_a_working_folder_is_cut_as_claude_code_cuts_it(left: Leftovers) -> None:
    long = replace(left, project="-" + "a" * 300)
    ours = put(
        Path(left.caches) / f"-{'a' * 199}-1x2y" / "mcp-logs-openai" / "a.jsonl", f'"sessionId":"{left.session}"'
    )
    assert sweep(long, ended=None) == []
    assert not ours.parent.parent.exists()


def test_the_name_of_a_working_folder_is_that_of_claude_code(tmp_path: Path) -> None:
    folder = tmp_path / "wörk é.x_1 \N{WAVING HAND SIGN}"
    folder.mkdir()
    found = Leftovers.of(DEAD_PID, 0.0, str(uuid.uuid4()), {"HOME": "/home/me"}, folder, "")
    assert found.project.endswith("-w-rk---x-1---")
    assert found.config == "/home/me/.claude"


# Another server's private folder, as the next server finds it.


@pytest.fixture
def private(tmp_path: Path, left: Leftovers) -> Path:
    """Of a server that is dead, as is the process that it had."""
    private = tmp_path / "tmp" / "claude-openai-abcdefgh"
    private.mkdir(mode=0o700, parents=True)
    Ledger(private).put(left)
    put(private / "ledger" / "server", json.dumps({"pid": DEAD_PID, "started": "1"}))
    return private


@pytest.fixture
def entry(left: Leftovers, config: Path) -> Path:
    """Of the process, in the user's list of sessions."""
    return put(config / "sessions" / f"{left.pid}.json", entries(left))


def test_a_dead_server_is_swept_up_after(private: Path, entry: Path) -> None:
    assert recover(private.parent) == []
    assert not entry.exists()
    assert not private.exists()


def test_files_of_a_dead_server_that_cannot_be_removed_are_reported(
    private: Path, left: Leftovers, config: Path
) -> None:
    link = config / "session-env" / left.session
    link.symlink_to(config)
    (failure,) = recover(private.parent)
    assert failure.startswith(f"{link}: ")
    assert not private.exists()


def test_the_ledger_keeps_a_process_until_it_is_swept_up_after(tmp_path: Path, left: Leftovers) -> None:
    ledger = Ledger(tmp_path)
    ledger.put(left)
    assert Leftovers.read(tmp_path / "ledger" / f"{left.session}.json") == left
    ledger.remove(left)
    assert names(tmp_path / "ledger") == ["server"]


@pytest.mark.parametrize("what", ["server", "process"])
def test_nothing_is_touched_while_the_server_or_a_process_of_it_lives(
    private: Path, entry: Path, left: Leftovers, what: str
) -> None:
    started = start_time(os.getpid())
    assert started
    if what == "server":
        put(private / "ledger" / "server", json.dumps({"pid": os.getpid(), "started": started}))
    else:
        alive = replace(left, pid=os.getpid(), started=started)
        put(private / "ledger" / f"{left.session}.json", json.dumps(asdict(alive)))
    recover(private.parent)
    assert entry.exists()
    assert private.exists()


def test_a_folder_that_others_may_write_to_is_not_believed(private: Path, entry: Path) -> None:
    private.chmod(0o770)
    recover(private.parent)
    assert entry.exists()


@needs("root")
def test_a_folder_of_another_user_is_not_believed(private: Path, entry: Path) -> None:
    os.chown(private, 12345, 12345)
    recover(private.parent)
    assert entry.exists()


def test_a_link_to_a_folder_is_not_believed(private: Path, entry: Path, tmp_path: Path) -> None:
    private.rename(tmp_path / "elsewhere")
    private.symlink_to(tmp_path / "elsewhere")
    recover(private.parent)
    assert entry.exists()


def test_a_folder_without_a_ledger_is_left(private: Path, entry: Path) -> None:
    (private / "ledger" / "server").unlink()
    recover(private.parent)
    assert private.exists()
    assert entry.exists()


@pytest.mark.parametrize(
    "fields",
    [{"session": "../.."}, {"session": ""}, {"made": ["plans/../x.md"]}, {"made": None}, {"more": 1}, {}],
    ids=["path", "empty", "path of its choice", "none", "newer version", "broken"],
)
def test_a_session_that_is_no_uuid_names_no_folder(
    private: Path, left: Leftovers, config: Path, fields: dict[str, object]
) -> None:
    text = json.dumps({**asdict(left), **fields}) if fields else "{"
    put(private / "ledger" / f"{left.session}.json", text)
    recover(private.parent)
    assert names(config) == ["projects", "session-env", "sessions", "shell-snapshots"]
    assert not private.exists()


def test_as_a_program_it_waits_for_the_processes_and_sweeps_up(private: Path, left: Leftovers, config: Path) -> None:
    # As the guardian runs it: nothing but the standard library can be imported.
    with subprocess.Popen(["sleep", "0.3"]) as process:
        started = start_time(process.pid)
        assert started
        dying = replace(left, pid=process.pid, started=started)
        put(private / "ledger" / f"{left.session}.json", json.dumps(asdict(dying)))
        entry = put(config / "sessions" / f"{process.pid}.json", entries(dying))
        text = Path(leftovers.__file__).read_text("utf-8")
        done = subprocess.run([sys.executable, "-I", "-S", "-c", text, str(private)], timeout=60, check=False)
    assert done.returncode == 0
    assert not entry.exists()


def test_an_empty_ledger_is_done(tmp_path: Path) -> None:
    assert sweep_ledger(tmp_path, just_killed=True) == []
