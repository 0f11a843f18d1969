"""`claude-openai usage` without a server: from the file of the figures."""

import json
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from claude_openai.commands import main
from claude_openai.commands.cache_table import cache_lines, cache_report
from claude_openai.runs.capture.records import RunRecord
from claude_openai.runs.usage.book import Account
from claude_openai.runs.usage.rows import Amounts, RowKey
from claude_openai.runs.usage.store import UsageStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path, now = tmp_path / "usage.db", time.time()
    key = RowKey(date.today().isoformat(), "claude-opus-5-5", "default")
    amounts = Amounts(1000, 3000, 0, 50, 20, cost_usd=1.5, estimated_usd=0.25, at_list_price_usd=1.5)
    window = {"utilization": 0.93, "resets_at": now + 1e6, "status": "allowed_warning", "seen_at": now}
    limits = {"windows": {"five_hour": window}, "overage": "", "uses_overage": True}
    UsageStore(path).add({key: amounts}, Account(now, limits))
    return path


def test_table_has_today_the_week_each_model_and_the_windows(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--usage-file", str(file)], {}) == 0
    head, today, week, model, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["COST", "INPUT", "FROM", "CACHE", "OUTPUT", "THINKING"]
    amounts = ["$1.75", "4,000", "75%", "50", "20"]
    assert today.split() == ["today", *amounts]
    assert week.split() == ["last", "7", "days", *amounts]
    assert model.split() == ["claude-opus-5-5", *amounts]
    assert rest[0].startswith("$1.50 of it is at list price")
    assert rest[1].startswith("$0.2500 of it is estimated")
    assert rest[2].startswith("five_hour: 93% used, resets ")
    assert rest[3] == "overage: requests are paid beyond the plan"


def test_json_is_that_of_the_route(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--json", "--usage-file", str(file)], {}) == 0
    usage = json.loads(capsys.readouterr().out)
    assert (usage["object"], usage["today"]["cost_usd"]) == ("usage", 1.75)


def test_file_that_cannot_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "usage.db"
    path.write_bytes(b"no database" * 500)
    assert main(["usage", "--usage-file", str(path)], {}) != 0
    assert "cannot read the figures" in capsys.readouterr().err


def record(run_id: str, conversation: str, cached: int, lost: int = 0, causes: Sequence[str] = ()) -> RunRecord:
    usage = {"prompt_tokens": 1000, "prompt_tokens_details": {"cached_tokens": cached}}
    cache = {"conversation": conversation, "read_share": 0.5, "lost_tokens": lost, "causes": list(causes)}
    return RunRecord(run_id, "sdk", "claude-\x1b[2Jopus", 0.0, "completed", usage=usage, cache=cache)


def test_cache_table_has_a_row_for_each_conversation_with_what_broke_it() -> None:
    records = [
        record("run_3", "run_1", 0, 900, ["tools", "system"]),
        record("run_2", "run_2", 0),
        record("run_1", "run_1", 800, 100, ["tools"]),
        RunRecord("run_0", "sdk", "claude", 0.0, "failed"),
    ]
    report = cache_report(records)
    head, first, second = cache_lines(report)
    assert head.split("  ")[0] == "CONVERSATION"
    assert first.split() == ["run_1", "claude-[2Jopus", "2", "2,000", "40%", "1,000", "tools", "(2),", "system", "(1)"]
    assert second.split() == ["run_2", "claude-[2Jopus", "1", "1,000", "0%"]
    assert report[0]["causes"] == {"tools": 2, "system": 1}


def test_cache_report_without_a_server_is_that_of_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = "run_" + "a" * 24
    folder = tmp_path / "output"
    folder.mkdir(0o700)
    lines = [{"t": 0, "type": "end", **record(run_id, run_id, 250).to_json()}]
    (folder / f"{run_id}.ndjson").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    environ = {"TMPDIR": str(tmp_path), "CLAUDE_OPENAI_OUTPUT_DIR": str(folder)}
    assert main(["usage", "--cache", "--json"], environ) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["conversation"], found["cached_tokens"], found["causes"]) == (run_id, 250, {})
