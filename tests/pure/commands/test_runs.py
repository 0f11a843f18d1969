"""What the commands show of runs, over files alone: the table, the text, ids and exit codes."""

import fcntl
import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.commands import main
from claude_openai.commands.help import DOCS
from claude_openai.commands.runs import screen, table
from claude_openai.runs.capture.records import RunRecord

ID = "run_" + "a" * 24
SIBLING = "run_" + "a" * 23 + "b"
FAILED = "run_" + "f" * 24
ERROR = {"message": "it broke\x1b[2J", "type": "upstream_error", "param": None, "code": "upstream_error"}

texts = st.text(st.characters(codec="ascii"), max_size=40)
records = st.builds(
    RunRecord,
    id=st.just(ID),
    backend=texts,
    model=texts,
    started_at=st.floats(0, 4e9),
    status=st.sampled_from(["queued", "running", "parked", "completed", "failed", "cancelled"]),
    conversation=st.none() | texts,
    ended_at=st.none() | st.floats(0, 4e9),
    usage=st.none() | st.just({"prompt_tokens": 12, "completion_tokens": 3}),
    error=st.none() | st.builds(lambda code: {"code": code}, texts),
)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """No server runs, and three runs are on file."""
    folder = tmp_path / "runs"
    folder.mkdir(0o700)
    for number, (run_id, status) in enumerate(((ID, "completed"), (SIBLING, "running"), (FAILED, "failed"))):
        record = RunRecord(run_id, "sdk", "claude", 1000.0 + number)
        lines: list[dict[str, Any]] = [{"type": "asked", **record.to_json()}, {"type": "running"}]
        lines += [{"type": "text", "text": f"said {number}, "}, {"type": "text", "text": "and \x1b[31mmore"}]
        if status != "running":
            ended = RunRecord(run_id, "sdk", "claude", 1000.0 + number, status, ended_at=1001.5 + number)  # type: ignore[arg-type]
            ended.error = ERROR if status == "failed" else None
            lines.append({"type": "end", **ended.to_json()})
        (folder / f"{run_id}.ndjson").write_text(
            "".join(json.dumps({"t": 0, **line}, separators=(",", ":")) + "\n" for line in lines)
        )
        os.utime(folder / f"{run_id}.ndjson", (2000 + number, 2000 + number))
    return {"TMPDIR": str(tmp_path), "CLAUDE_OPENAI_OUTPUT_DIR": str(folder)}


@given(st.lists(records, max_size=5), st.integers(1, 200))
def test_the_table_fits_and_no_cell_steers_the_terminal(found: list[RunRecord], width: int) -> None:
    lines = list(table(found, width, colours=False))
    assert len(lines) == len(found) + 1
    for line in lines:
        assert len(line) <= max(2, width)
        assert line.isprintable()


def test_a_wide_terminal_shows_all_and_a_narrow_one_the_id_and_the_status() -> None:
    record = RunRecord(ID, "sdk", "claude-sonnet", 1000.0, "running")
    head, line = table([record], 200, colours=True)
    columns = ["RUN", "STATUS", "BACKEND", "MODEL", "WAY", "STARTED", "WAITED", "TIME", "TOKENS", "COST"]
    assert head.split() == columns
    assert "\x1b[32mrunning\x1b[0m" in line
    assert "claude-sonnet" in line
    narrow = list(table([record], 45, colours=False, now=1002.5))[1].split()
    assert narrow == [ID, "running", "2.5", "s"]


def test_terminal_shows_the_key_column_if_a_run_has_a_key() -> None:
    named = RunRecord(ID, "sdk", "claude-sonnet", 1000.0, "running", key="ann")
    unnamed = RunRecord(SIBLING, "sdk", "claude-sonnet", 1000.0, "running")
    head, first, second = table([named, unnamed], 200, colours=False)
    assert head.split()[-1] == "KEY"
    assert first.split()[-1] == "ann"
    assert "ann" not in second


def test_example_of_the_documentation_is_what_the_table_shows() -> None:
    started, now = datetime(2026, 11, 24, 2, 28, 4).timestamp(), datetime(2026, 11, 24, 2, 25, 59).timestamp()
    usage = {"prompt_tokens": 164, "completion_tokens": 42}
    ended = RunRecord("run_e2217f7e565249838fbdaf07", "sdk", "claude-opus", started, "completed", "continued")
    ended.ended_at, ended.usage, ended.waited_ms = started + 1.4, usage, 0
    ended.spend(0.001, 0.0)
    running = RunRecord("run_98f1b15b937e4550b8034a4a", "sdk", "claude-sonnet", now - 37, "running", "new")
    running.waited_ms = 2100
    running.spend(0.0004, 0.0004)
    example = re.search(r"```\n(RUN .*?)\n```", (DOCS / "runs.md").read_text("utf-8"), re.DOTALL)
    assert example is not None
    assert list(table([ended, running], 200, colours=False, now=now)) == example[1].splitlines()


@pytest.mark.parametrize(
    ("status", "waited_ms", "ended_at", "times"),
    [
        ("queued", None, None, ["2.5 s", "2.5 s"]),
        ("running", 1500, None, ["1.5 s", "2.5 s"]),
        ("completed", 1500, 1002.0, ["1.5 s", "2.0 s"]),
        ("parked", 0, 1002.0, ["0.0 s", "2.0 s"]),
        ("cancelled", None, 1002.0, ["2.0 s"]),
    ],
)
def test_table_has_the_time_in_the_queue_and_the_time_so_far(
    status: Any, waited_ms: int | None, ended_at: float | None, times: list[str]
) -> None:
    record = RunRecord(ID, "sdk", "claude-sonnet", 1000.0, status, ended_at=ended_at, waited_ms=waited_ms)
    _, line = table([record], 200, colours=False, now=1002.5)
    assert re.findall(r"[\d.]+ s", line) == times


@pytest.mark.parametrize("width", [30, 200])
def test_line_above_the_table_says_why_runs_wait(width: int) -> None:
    waiting = RunRecord(ID, "sdk", "claude-sonnet", 1000.0, "queued", waiting_for="slot")
    first, head, _ = screen([waiting], width, {})
    assert first == "1 queued: all slots are taken; the server's --max-concurrency sets their number"[:width]
    assert RunRecord.from_json(waiting.to_json()) == waiting
    assert head.startswith("RUN")
    assert len(list(screen([RunRecord(ID, "sdk", "claude-sonnet", 1000.0)], width, {}))) == 2


def test_running_lists_only_runs_that_have_not_ended(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    # Without a server the run without an end is one of a server that was killed.
    assert main(["runs", "--running", "--json"], environ) == 0
    assert json.loads(capsys.readouterr().out) == []
    path = Path(environ["CLAUDE_OPENAI_OUTPUT_DIR"]) / f"{SIBLING}.ndjson"
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["runs", "--running", "--json", "-n", "1"], environ) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)] == [SIBLING]


@pytest.mark.parametrize("flags", [["--watch"], ["--watch", "--json"]])
def test_watch_needs_a_terminal(environ: dict[str, str], capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    assert main(["runs", *flags], environ) == 2
    assert "--watch needs a terminal" in capsys.readouterr().err


def test_the_runs_are_listed_the_newest_first(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"], environ) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [["RUN", "STATUS"], [FAILED, "failed"], [SIBLING, "failed"], [ID, "completed"]]
    assert main(["runs", "--json", "-n", "2"], environ) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [run["id"] for run in listed] == [FAILED, SIBLING]
    assert list(listed[0]) == list(RunRecord(ID, "", "", 0.0).to_json())
    assert listed[1]["error"]["code"] == "server_ended"


def test_without_a_run_the_list_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--json"], {"TMPDIR": str(tmp_path), "CLAUDE_OPENAI_OUTPUT_DIR": str(tmp_path / "no")}) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_tail_prints_the_text_and_the_fate(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", ID], environ) == 0
    assert capsys.readouterr() == ("said 0, and \x1b[31mmore\n", "")
    assert main(["tail", "-f", "f"], environ) == 1
    assert capsys.readouterr() == (
        "said 2, and \x1b[31mmore\n",
        f"claude-openai: {FAILED} failed: it broke\\u001b[2J\n",
    )
    assert main(["tail", "-f", SIBLING], environ) == 1
    assert "The server ended before the run did" in capsys.readouterr().err
    assert main(["tail", "--raw", FAILED], environ) == 1
    raw = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert raw == ["asked", "running", "text", "text", "end"]


BAD_IDS = [
    ("../x", 2, "invalid run id"),
    ("run_", 2, "invalid run id"),
    ("", 2, "invalid run id"),
    (ID + "a", 2, "invalid run id"),
]


@pytest.mark.parametrize(
    ("command", "given", "code", "said"),
    [
        *(("tail", *bad) for bad in BAD_IDS),
        *(("cancel", *bad) for bad in BAD_IDS),
        ("tail", "c0ffee", 1, "no runs have an id that begins with 'run_c0ffee' in"),
        ("tail", "c0ffee", 1, "--output-dir"),
        ("tail", "aaaa", 1, f"2 runs have an id that begins with 'run_aaaa': {SIBLING}, {ID}"),
    ],
)
def test_a_bad_or_ambiguous_id_is_one_line(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str], command: str, given: str, code: int, said: str
) -> None:
    assert main([command, given], environ) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("given", [ID, "abc", "f"])
def test_with_no_server_nothing_can_be_cancelled(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str], given: str
) -> None:
    assert main(["cancel", given], environ) == 1
    assert capsys.readouterr().err == "claude-openai: no server is running, so there is no run to cancel\n"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ('{"t":1,"type":"lost","records":7}\n', "about 7 of its records"),
        ('{"t":1,"type":"te\n', "about 1 of its records"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["-f"], ["--raw"]])
def test_a_text_that_is_not_whole_is_no_success(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str], damage: str, told: str, flags: list[str]
) -> None:
    path = Path(environ["CLAUDE_OPENAI_OUTPUT_DIR"]) / f"{ID}.ndjson"
    *lines, end = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, damage, end]))
    assert main(["tail", *flags, ID], environ) == 1
    out, err = capsys.readouterr()
    assert "said 0, " in out
    assert len(err.splitlines()) == 1
    assert told in err


@given(records)
def test_a_run_takes_as_long_by_its_file_as_by_its_server(record: RunRecord) -> None:
    read = RunRecord.from_json(record.to_json())
    assert read is not None
    assert read.duration_ms == record.duration_ms
    assert record.ended_at is None or record.duration_ms == pytest.approx(
        (record.ended_at - record.started_at) * 1000, abs=1.1
    )


@pytest.mark.parametrize("limit", ["0", "x", "1001", "-1", "1.5"])
def test_a_bad_number_is_refused(environ: dict[str, str], capsys: pytest.CaptureFixture[str], limit: str) -> None:
    assert main(["runs", f"-n{limit}"], environ) == 2
    assert "from 1 to 1000" in capsys.readouterr().err


def test_a_folder_can_be_named(environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = environ.pop("CLAUDE_OPENAI_OUTPUT_DIR")
    assert main(["runs", "--json", "--output-dir", folder], environ) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["runs", "--output-dir", "none"], environ) == 1
    assert "runs are not captured" in capsys.readouterr().err
