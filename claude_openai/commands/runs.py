"""`claude-openai runs`: list current and past runs.

On a terminal the table fits its width; elsewhere its columns are separated by tabs. With --json it is an array. With
--watch it is shown again every second.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from claude_openai.commands import allows_colours, command_parser
from claude_openai.commands.figures import CURRENT, cost_of, seconds, times_of, tokens_of
from claude_openai.commands.state.run_source import add_folder_flag, runs_of, visible
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError
from claude_openai.runs.capture.files import MAX_LISTED, read_limit
from claude_openai.runs.capture.records import RunRecord

__all__ = ["parser", "run", "screen", "table"]

DEFAULT_RUNS: Final = 20
HEAD: Final = (
    *("RUN", "STATUS", "BACKEND", "MODEL", "WAY", "STARTED"),
    *("WAITED", "TIME", "TOKENS", "COST", "KEY", "ERROR"),
)
# Columns that a terminal shows only if a run has something in them.
OFTEN_EMPTY: Final = ("KEY", "ERROR")
WATCH_INTERVAL_S: Final = 1.0
# Move to the upper left corner and clear the rest of the screen.
HOME: Final = "\x1b[H\x1b[J"
GAP: Final = "  "
# Columns to drop when the terminal is too narrow, the least important first.
EXPENDABLE: Final = ("BACKEND", "WAY", "WAITED", "STARTED", "TOKENS", "COST", "KEY", "MODEL")
_COLOURS: Final = {"queued": "33", "running": "32", "parked": "36", "failed": "31", "cancelled": "35"}


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("runs", "List the runs, newest first.")
    parser.add_argument("--json", action="store_true", help="print an array of JSON objects instead of a table")
    parser.add_argument(
        "-n",
        dest="limit",
        metavar="N",
        default=str(DEFAULT_RUNS),
        help=f"number of runs to list, at most {MAX_LISTED} (default: {DEFAULT_RUNS})",
    )
    parser.add_argument("--running", action="store_true", help="list only runs that have not ended")
    parser.add_argument("--watch", action="store_true", help="show the table again every second, until Ctrl-C")
    add_folder_flag(parser)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    limit = read_limit(options.limit)
    if limit is None:
        raise ConfigError(f"-n: {options.limit!r} is not a whole number from 1 to {MAX_LISTED}")
    if options.watch and (options.json or not sys.stdout.isatty()):
        raise ConfigError("--watch needs a terminal and a table", hint="use --json without it")
    while options.watch:
        size = shutil.get_terminal_size()
        lines = screen(_listed(options, limit, environ), size.columns, environ)
        print(HOME + "\n".join(islice(lines, size.lines - 1)), flush=True)
        time.sleep(WATCH_INTERVAL_S)
    records = _listed(options, limit, environ)
    if options.json:
        print(json.dumps([record.to_json() for record in records], indent=2))
    elif sys.stdout.isatty():
        print("\n".join(screen(records, shutil.get_terminal_size().columns, environ)))
    else:
        print("\n".join("\t".join(row) for row in _rows(records)))
    return 0


def _listed(options: argparse.Namespace, limit: int, environ: Mapping[str, str]) -> list[RunRecord]:
    records = runs_of(options.output_dir, environ).list(MAX_LISTED if options.running else limit)
    return [record for record in records if not options.running or record.status in CURRENT][:limit]


def screen(records: Sequence[RunRecord], width: int, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the table, and why runs wait."""
    waiting = sum(record.waiting_for == "slot" for record in records)
    if waiting:
        yield f"{waiting} queued: all slots are taken; the server's --max-concurrency sets their number"[:width]
    yield from table(records, width, colours=allows_colours(environ))


def table(records: Sequence[RunRecord], width: int, *, colours: bool, now: float | None = None) -> Iterator[str]:
    """Yield the lines of the table, none wider than `width` columns.

    Args:
        records: the runs.
        width: columns of the terminal.
        colours: whether to colour the states.
        now: the present, in seconds since 1970; by default the clock's.
    """
    rows = _rows(records, now)
    shown = [index for index, name in enumerate(HEAD) if name not in OFTEN_EMPTY or any(row[index] for row in rows[1:])]
    widths = [max(len(row[index]) for row in rows) for index in range(len(HEAD))]
    for name in EXPENDABLE:
        if HEAD.index(name) in shown and sum(widths[index] + len(GAP) for index in shown) - len(GAP) > width:
            shown.remove(HEAD.index(name))
    for row in rows:
        line = GAP.join(row[index].ljust(widths[index]) for index in shown).rstrip()
        line = line if len(line) <= width else line[: max(1, width - 1)] + "…"
        yield _coloured(line, row[1]) if colours else line


def _rows(records: Sequence[RunRecord], now: float | None = None) -> list[tuple[str, ...]]:
    at = time.time() if now is None else now
    return [HEAD, *(_row(record, at) for record in records)]


def _row(record: RunRecord, now: float) -> tuple[str, ...]:
    error = record.error
    waited, took = times_of(record, now)
    cells = (
        record.id,
        record.status,
        record.backend,
        record.model,
        record.conversation or "",
        datetime.fromtimestamp(record.started_at).astimezone().strftime("%m-%d %H:%M:%S"),
        seconds(waited),
        seconds(took),
        tokens_of(record),
        cost_of(record),
        record.key or "",
        str(error.get("code") or error.get("type") or "error") if error else "",
    )
    return tuple(" ".join(visible(cell).split()) for cell in cells)


def _coloured(line: str, status: str) -> str:
    code = _COLOURS.get(status)
    return line if code is None else line.replace(status, f"\x1b[{code}m{status}\x1b[0m", 1)
