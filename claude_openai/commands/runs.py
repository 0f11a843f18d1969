"""`claude-openai runs`: list current and past runs.

On a terminal the table fits its width; elsewhere its columns are separated by tabs. With --json it is an array.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from claude_openai.commands import command_parser
from claude_openai.commands.state.run_source import add_folder_flag, runs_of, visible
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError
from claude_openai.runs.capture.files import MAX_LISTED, read_limit
from claude_openai.runs.capture.records import RunRecord

__all__ = ["parser", "run"]

DEFAULT_RUNS: Final = 20
HEAD: Final = ("RUN", "STATUS", "BACKEND", "MODEL", "WAY", "STARTED", "TIME", "TOKENS", "COST", "ERROR")
GAP: Final = "  "
# Columns to drop when the terminal is too narrow, the least important first.
EXPENDABLE: Final = ("BACKEND", "WAY", "STARTED", "TOKENS", "COST", "MODEL")
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
    add_folder_flag(parser)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    limit = read_limit(options.limit)
    if limit is None:
        raise ConfigError(f"-n: {options.limit!r} is not a whole number from 1 to {MAX_LISTED}")
    records = runs_of(options.output_dir, environ).list(limit)
    if options.json:
        print(json.dumps([record.to_json() for record in records], indent=2))
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        print("\n".join(table(records, width, colours="NO_COLOR" not in os.environ)))
    else:
        print("\n".join("\t".join(row) for row in [HEAD, *map(_row, records)]))
    return 0


def table(records: Sequence[RunRecord], width: int, *, colours: bool) -> Iterator[str]:
    """Yield the lines of the table, none wider than `width` columns."""
    rows = [HEAD, *map(_row, records)]
    shown = [index for index, name in enumerate(HEAD) if name != "ERROR" or any(row[index] for row in rows[1:])]
    widths = [max(len(row[index]) for row in rows) for index in range(len(HEAD))]
    for name in EXPENDABLE:
        if sum(widths[index] + len(GAP) for index in shown) - len(GAP) > width:
            shown.remove(HEAD.index(name))
    for row in rows:
        line = GAP.join(row[index].ljust(widths[index]) for index in shown).rstrip()
        line = line if len(line) <= width else line[: max(1, width - 1)] + "…"
        yield _coloured(line, row[1]) if colours else line


def _row(record: RunRecord) -> tuple[str, ...]:
    usage, error, took = record.usage, record.error, record.duration_ms
    cells = (
        record.id,
        record.status,
        record.backend,
        record.model,
        record.conversation or "",
        datetime.fromtimestamp(record.started_at).astimezone().strftime("%m-%d %H:%M:%S"),
        "" if took is None else f"{took / 1000:.1f} s",
        f"{usage.get('prompt_tokens')}+{usage.get('completion_tokens')}" if usage else "",
        _cost(record),
        str(error.get("code") or error.get("type") or "error") if error else "",
    )
    return tuple(" ".join(visible(cell).split()) for cell in cells)


def _cost(record: RunRecord) -> str:
    """Return the dollars, after a tilde if a part of them is estimated."""
    return "" if record.cost_usd is None else f"{'~' if record.estimated_usd else ''}${record.cost_usd:.4f}"


def _coloured(line: str, status: str) -> str:
    code = _COLOURS.get(status)
    return line if code is None else line.replace(status, f"\x1b[{code}m{status}\x1b[0m", 1)
