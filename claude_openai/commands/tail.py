"""`claude-openai tail RUN`: print the captured output of a run, with -f until the run has ended.

Without RUN, -f prints the runs of the server one after the other, in the order in which they began, until Ctrl-C.

Exit codes: 0, or 1 if the run failed or was cancelled, or if its captured output is incomplete.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from claude_openai.commands import command_parser, say
from claude_openai.commands.state.run_source import RunSource, ServerRuns, add_folder_flag, run_named, runs_of, visible
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError, StartError
from claude_openai.runs.capture.files import MAX_LISTED
from claude_openai.runs.capture.records import read_line

__all__ = ["parser", "run"]

NEW_RUNS_POLL_S: Final = 0.5


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("tail", "Print the captured output of a run.")
    parser.add_argument(
        "run", metavar="RUN", nargs="?", help="id of the run, or the beginning of it; without it, -f prints what runs"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="print new output until the run has ended")
    parser.add_argument("--raw", action="store_true", help="print the captured records, one JSON object per line")
    add_folder_flag(parser)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    if options.run is None and not options.follow:
        raise ConfigError("tail needs the id of a run", hint="`claude-openai runs` lists them; -f prints what runs")
    runs = runs_of(options.output_dir, environ)
    if options.run is None:
        if not isinstance(runs, ServerRuns):
            raise StartError("no server is running, so there is no run to follow")
        _follow_all(runs, raw=options.raw)
    run_id = run_named(runs, options.run)
    printer = _Printer(raw=options.raw)
    for line in runs.output(run_id, follow=options.follow):
        printer.take(line)
    return _report_end(runs, run_id, printer)


def _follow_all(runs: ServerRuns, *, raw: bool) -> NoReturn:
    """Print each run that goes on now or begins later."""
    seen = {record.id for record in runs.list(MAX_LISTED) if record.status not in ("queued", "running")}
    while True:
        listed = runs.list(MAX_LISTED)
        for record in reversed(listed):
            if record.id not in seen:
                say(f"claude-openai: {record.id}, {visible(record.model)}:")
                printer = _Printer(raw=raw)
                for line in runs.output(record.id, follow=True):
                    printer.take(line)
                _report_end(runs, record.id, printer)
                seen.add(record.id)
        seen &= {record.id for record in listed}
        time.sleep(NEW_RUNS_POLL_S)


class _Printer:
    """Prints the records of a run, and counts the missing ones.

    Attributes:
        end: the run's last record, {} if there is none.
        lost: number of records that were not written or cannot be read.
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
        """End the last line, if the text did not."""
        if self._last != "\n":
            print(flush=True)
            self._last = "\n"


def _report_end(runs: RunSource, run_id: str, printer: _Printer) -> int:
    printer.close()
    end: Mapping[str, Any] = printer.end
    if not end:
        found = runs.find(run_id)
        end = {} if found is None else found.to_json()
    failed = end.get("status") in ("failed", "cancelled")
    if failed:
        error = end.get("error")
        message = json.dumps(error.get("message"), ensure_ascii=False)[1:-1] if isinstance(error, dict) else ""
        detail = f": {visible(message)}" if message else ""
        say(f"claude-openai: {run_id} {_verb(str(end['status']))}{detail}")
    missing = _missing(printer, end)
    if missing:
        hint = "see `runs.not_captured` in the log (is the disk full?)"
        say(f"claude-openai: the output of {run_id} is incomplete: {missing}; {hint}")
    return 1 if failed or missing else 0


def _missing(printer: _Printer, end: Mapping[str, Any]) -> str:
    if printer.lost:
        return f"about {printer.lost} of its records could not be written"
    goes_on = end.get("status") in ("queued", "running")
    error = end.get("error")
    is_explained = isinstance(error, dict) and error.get("code") == "server_ended"
    return "" if printer.end or goes_on or is_explained else "its last records could not be written"


def _verb(status: str) -> str:
    return "was cancelled" if status == "cancelled" else status
