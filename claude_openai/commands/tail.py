"""`claude-openai tail RUN`: what a run said, or says as it comes.

Exit codes: 0, or 1 when the run failed or was cancelled.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from claude_openai.commands import command_parser
from claude_openai.commands.run_source import RunSource, add_folder_flag, printing, run_named, runs_of, visible
from claude_openai.runs.records import read_line

__all__ = ["run"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = command_parser("tail")
    parser.add_argument("run", metavar="RUN", help="its id, or the beginning of it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument("--raw", action="store_true", help="the captured records, one JSON object a line")
    add_folder_flag(parser)
    given = parser.parse_args(list(argv))

    def show() -> int:
        runs = runs_of(given.output_dir, environ)
        run_id = run_named(runs, given.run)
        return _show(runs, run_id, follow=given.follow, raw=given.raw)

    return printing(show)


def _show(runs: RunSource, run_id: str, *, follow: bool, raw: bool) -> int:
    end: dict[str, Any] | None = None
    last = "\n"
    for line in runs.output(run_id, follow=follow):
        record = read_line(line)
        text = record.get("text")
        if raw:
            sys.stdout.write(line.decode(errors="backslashreplace") + "\n")
        elif record.get("type") == "text" and isinstance(text, str) and text:
            sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
            last = text[-1]
        sys.stdout.flush()
        end = record if record.get("type") == "end" else end
    if last != "\n":
        print()
    if end is None:
        found = runs.find(run_id)
        end = {} if found is None else found.to_json()
    return _judged(run_id, end)


def _judged(run_id: str, end: Mapping[str, Any]) -> int:
    if end.get("status") not in ("failed", "cancelled"):
        return 0
    error = end.get("error")
    message = json.dumps(error.get("message"), ensure_ascii=False)[1:-1] if isinstance(error, dict) else ""
    told = f": {visible(message)}" if message else ""
    print(f"claude-openai: {run_id} {_verb(str(end['status']))}{told}", file=sys.stderr)
    return 1


def _verb(status: str) -> str:
    return "was cancelled" if status == "cancelled" else status
