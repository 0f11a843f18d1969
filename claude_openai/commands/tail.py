"""`claude-openai tail RUN`: what a run said, or says as it comes.

Exit codes: 0, or 1 when the run failed or was cancelled, or when not all that it said is there to be printed.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from claude_openai.commands import command_parser, say
from claude_openai.commands.state.run_source import RunSource, add_folder_flag, run_named, runs_of, visible
from claude_openai.config.setting import Parser
from claude_openai.runs.capture.records import read_line

__all__ = ["parser", "run"]


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("tail", "Print the captured output of a run.")
    parser.add_argument("run", metavar="RUN", help="id of the run, or the beginning of it")
    parser.add_argument("-f", "--follow", action="store_true", help="print new output until the run has ended")
    parser.add_argument("--raw", action="store_true", help="print the captured records, one JSON object per line")
    add_folder_flag(parser)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    given = parser().parse_args(list(argv))
    runs = runs_of(given.output_dir, environ)
    run_id = run_named(runs, given.run)
    shown = _Shown(raw=given.raw)
    for line in runs.output(run_id, follow=given.follow):
        shown.take(line)
    return _judged(runs, run_id, shown)


class _Shown:
    """What is printed of a run, and what was found on the way.

    Attributes:
        end: its last record, {} if there is none.
        lost: records that were not written, and those that cannot be read.
    """

    def __init__(self, *, raw: bool) -> None:
        self.end: dict[str, Any] = {}
        self.lost = 0
        self._raw = raw
        self._last = "\n"

    def take(self, line: bytes) -> None:
        record = read_line(line)
        text = record.get("text")
        if self._raw:
            sys.stdout.write(line.decode(errors="backslashreplace") + "\n")
        elif record.get("type") == "text" and isinstance(text, str) and text:
            sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
            self._last = text[-1]
        sys.stdout.flush()
        if record.get("type") == "end":
            self.end = record
        elif record.get("type") == "lost":
            self.lost += int(record.get("records") or 0)
        elif line and not record:
            self.lost += 1

    def close(self) -> None:
        """End the line, if the text did not."""
        if self._last != "\n":
            print(flush=True)
            self._last = "\n"


def _judged(runs: RunSource, run_id: str, shown: _Shown) -> int:
    shown.close()
    end: Mapping[str, Any] = shown.end
    if not end:
        found = runs.find(run_id)
        end = {} if found is None else found.to_json()
    failed = end.get("status") in ("failed", "cancelled")
    if failed:
        error = end.get("error")
        message = json.dumps(error.get("message"), ensure_ascii=False)[1:-1] if isinstance(error, dict) else ""
        told = f": {visible(message)}" if message else ""
        say(f"claude-openai: {run_id} {_verb(str(end['status']))}{told}")
    missing = _missing(shown, end)
    if missing:
        hint = "see `runs.not_captured` in the log (is the disk full?)"
        say(f"claude-openai: the output of {run_id} is incomplete: {missing}; {hint}")
    return 1 if failed or missing else 0


def _missing(shown: _Shown, end: Mapping[str, Any]) -> str:
    if shown.lost:
        return f"about {shown.lost} of its records could not be written"
    goes_on = end.get("status") in ("queued", "running")
    error = end.get("error")
    is_told = isinstance(error, dict) and error.get("code") == "server_ended"
    return "" if shown.end or goes_on or is_told else "its last records could not be written"


def _verb(status: str) -> str:
    return "was cancelled" if status == "cancelled" else status
