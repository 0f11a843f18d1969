"""What `logs` selects, and how it shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from claude_openai.commands import main
from claude_openai.commands.log_lines import LogLines, since_of
from claude_openai.commands.state.paths import LOG_FILE
from claude_openai.errors import ConfigError

RUN = "run_" + "a" * 24
OTHER = "run_" + "ab" * 12
NOW = 1_795_772_094.5


def record(minute: int, event: str, level: str = "info", **fields: Any) -> bytes:
    head = {"time": f"2026-11-27T09:{minute:02}:00.000Z", "level": level, "event": event}
    return json.dumps({**head, **fields}, separators=(",", ":")).encode() + b"\n"


LOG = [
    record(1, "run.start", "debug", run_id=RUN),
    record(2, "http.request", run_id=RUN, model="claude", status=200, duration_ms=1200),
    b"not a record\n",
    record(3, "spare.failed", "warning", error="no memory"),
    record(4, "run.start", "debug", run_id=OTHER),
]


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """No server runs; the log of the last one is on file, its first two lines in the older file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("claude_openai.commands.logs.home_folder", lambda: tmp_path)
    path = tmp_path / LOG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.1").write_bytes(b"".join(LOG[:2]))
    path.write_bytes(b"".join(LOG[2:]))
    return {"TMPDIR": str(tmp_path)}


def printed(capfdbinary: pytest.CaptureFixture[bytes], environ: dict[str, str], *flags: str) -> list[bytes]:
    assert main(["logs", *flags], environ) == 0
    return capfdbinary.readouterr().out.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ((), LOG[2:]),
        (("-n", "1"), LOG[4:]),
        (("--level", "info"), [LOG[1], LOG[3]]),
        (("--level", "warning"), [LOG[3]]),
        (("--level", "trace", "-n", "2"), LOG[3:]),
        (("--run", RUN), LOG[:2]),
        (("--run", "run_aaa"), LOG[:2]),
        (("--run", "aba"), [LOG[4]]),
        (("--since", "2026-11-27T09:03:00Z"), LOG[3:]),
        (("--since", "2026-11-27", "--level", "info"), [LOG[1], LOG[3]]),
        (("--since", "2026-11-28"), []),
    ],
)
def test_lines_are_selected_from_both_files(
    capfdbinary: pytest.CaptureFixture[bytes], environ: dict[str, str], flags: tuple[str, ...], shown: list[bytes]
) -> None:
    assert printed(capfdbinary, environ, *flags) == shown


def test_pretty_shows_requests_and_warnings_with_their_date(
    capfdbinary: pytest.CaptureFixture[bytes], environ: dict[str, str]
) -> None:
    request, warning = printed(capfdbinary, environ, "--pretty")
    assert b" 200 claude " in request
    assert b"total 1.2s" in request
    assert request.startswith(b"11-27 ")
    assert warning.endswith(b" warning spare.failed error=no memory\n")
    assert len(printed(capfdbinary, environ, "--pretty", "--level", "debug")) == 4


@pytest.mark.parametrize(
    "flag", [("--level", "loud"), ("--run", "x"), ("--since", "yesterday"), ("--since", "9999999d")]
)
def test_invalid_selection_is_one_line_with_its_flag(
    capsys: pytest.CaptureFixture[str], environ: dict[str, str], flag: tuple[str, str]
) -> None:
    assert main(["logs", *flag], environ) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert flag[1] in line


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0m", 0)])
def test_duration_counts_back_from_now(text: str, seconds: int) -> None:
    assert since_of(text, NOW + seconds) == "2026-11-27T09:34:54.500Z"


@pytest.mark.parametrize("text", ["999999d", "", "10", "10 m", "0000-00-00", "m"])
def test_time_of_unknown_form_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--since"):
        since_of(text, NOW)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b"[" * 9999])
def test_line_that_is_no_record_is_left_out(line: bytes) -> None:
    assert LogLines(since="2026").shown(line) is None
