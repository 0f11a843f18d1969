"""`claude-openai usage`: tokens, dollars, and the windows of the plan. From the running server, or from its file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from claude_openai.commands import command_parser
from claude_openai.commands.instance import control_client as control
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.commands.state.run_source import visible
from claude_openai.commands.window_lines import window_lines
from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["parser", "run"]

_SETTING: Final = next(setting for setting in SETTINGS if setting.name == "usage_file")
HEAD: Final = ("", "COST", "INPUT", "FROM CACHE", "OUTPUT", "THINKING")


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("usage", "Show tokens and dollars of today and of the last 7 days, and the plan's windows.")
    parser.add_argument("--json", action="store_true", help="print a JSON object, as GET /v1/usage, instead of a table")
    parser.add_argument("--forget", action="store_true", help="delete all figures, of every day")
    parser.add_argument(
        _SETTING.flag,
        dest=_SETTING.name,
        metavar=_SETTING.metavar,
        help="use this file, not the server",
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    instance = find_instance(instance_folder(environ)) if options.usage_file is None else None
    if options.forget:
        if instance is None:
            _forget(_path(options.usage_file, environ))
        else:
            control.post_json(instance, "/control/usage/forget")
        print("all figures are deleted")
        return 0
    if instance is None:
        usage = _usage_in(_path(options.usage_file, environ))
    else:
        usage = control.get_json(instance, "/control/usage")
    if usage["problem"]:
        raise StartError(f"cannot read the figures: {usage['problem']}")
    print(json.dumps(usage, indent=2) if options.json else "\n".join(_lines(usage)))
    return 0


def _path(flag: str | None, environ: Mapping[str, str]) -> Path:
    raw, source = _SETTING.find(flag, environ)
    path: Path | None = _SETTING.read(_SETTING.of_command if raw is None else raw, source)
    if path is None:
        raise StartError("no server is running, and its figures are not kept (--usage-file none)")
    return path


def _usage_in(path: Path) -> dict[str, Any]:
    from claude_openai.runs.usage.book import MemoryBook
    from claude_openai.runs.usage.ledger import Ledger
    from claude_openai.runs.usage.store import STORE_ERRORS, UsageStore

    try:
        store, book = UsageStore(path), MemoryBook()
        for key, amounts in sorted(store.rows("").items()):
            book.add(key, amounts)
        account = store.account()
        if account is not None:
            book.put_account(account)
        return Ledger(book=book).report()
    except STORE_ERRORS as error:
        raise StartError(f"cannot read {str(path)!r}: {error}") from None


def _forget(path: Path) -> None:
    from claude_openai.runs.usage.store import STORE_ERRORS, UsageStore

    try:
        UsageStore(path).forget()
    except STORE_ERRORS as error:
        raise StartError(f"cannot change {str(path)!r}: {error}") from None


def _lines(usage: Mapping[str, Any]) -> Iterator[str]:
    today, week = usage["today"], usage["last_7_days"]
    rows = [HEAD, _row("today", today), _row("last 7 days", week)]
    rows += [_row(f"  {visible(each['model'])}", each) for each in week["by_model"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *numbers])
    if week["at_list_price_usd"]:
        yield f"${week['at_list_price_usd']:.2f} of it is at list price: the plan covers it."
    if week["turns_without_cost"]:
        yield (
            f"{week['turns_without_cost']} turns ended before Claude Code reported their cost; "
            f"${week['estimated_usd']:.2f} is an estimate of it."
        )
    yield from (visible(line) for line in window_lines(usage))
    if usage["refusing"]:
        yield f"refusing turns: {usage['refusing']}"


def _row(name: str, amounts: Mapping[str, Any]) -> tuple[str, ...]:
    share = amounts["cache_read_share"]
    return (
        name,
        _dollars(amounts["cost_usd"]),
        f"{amounts['input_tokens']:,}",
        "" if share is None else f"{share * 100:.0f} %",
        f"{amounts['output_tokens']:,}",
        f"{amounts['thinking_tokens']:,}",
    )


def _dollars(usd: float) -> str:
    return f"${usd:.2f}" if usd >= 1 or not usd else f"${usd:.4f}"
