"""`claude-openai cancel RUN`: end a run; its client gets an error and its processes die."""

import sys
from collections.abc import Mapping, Sequence

from claude_openai.commands import command_parser
from claude_openai.commands.state.run_source import ServerRuns, check_id, run_named, runs_of
from claude_openai.errors import StartError

__all__ = ["run"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """0 if it was cancelled, 1 if it had ended before, or could not be."""
    parser = command_parser("cancel")
    parser.add_argument("run", metavar="RUN", help="its id, or the beginning of it")
    given = parser.parse_args(list(argv))
    check_id(given.run)
    runs = runs_of(None, environ)
    if not isinstance(runs, ServerRuns):
        raise StartError("no server runs, so there is nothing to cancel")
    run_id = run_named(runs, given.run)
    record = runs.cancel(run_id)
    status = "gone" if record is None else record.status
    print(f"{run_id} {status}", file=sys.stdout if status == "cancelled" else sys.stderr)
    return 0 if status == "cancelled" else 1
