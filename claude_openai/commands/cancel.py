"""`claude-openai cancel RUN`: cancel a run. Its client gets an error, and its processes are killed."""

import sys
from collections.abc import Mapping, Sequence

from claude_openai.commands import command_parser
from claude_openai.commands.state.run_source import ServerRuns, check_id, run_named, runs_of
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["parser", "run"]


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("cancel", "Cancel a run: its client gets an error, and its processes are killed.")
    parser.add_argument("run", metavar="RUN", help="id of the run, or the beginning of it")
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Cancel the run. Exit codes: 0 if it was cancelled, 1 if it had already ended or was not found."""
    options = parser().parse_args(list(argv))
    check_id(options.run)
    runs = runs_of(None, environ)
    if not isinstance(runs, ServerRuns):
        raise StartError("no server is running, so there is no run to cancel")
    run_id = run_named(runs, options.run)
    record = runs.cancel(run_id)
    status = "gone" if record is None else record.status
    print(f"{run_id} {status}", file=sys.stdout if status == "cancelled" else sys.stderr)
    return 0 if status == "cancelled" else 1
