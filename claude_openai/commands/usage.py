"""`claude-openai usage`: tokens, dollars, and the windows of the plan. From the running server, or from its store."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from claude_openai.commands import command_parser
from claude_openai.commands.cache_table import cache_lines, cache_report
from claude_openai.commands.figures import clock_time, dollars
from claude_openai.commands.instance import control_client as control
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.commands.state.run_source import runs_of, visible
from claude_openai.commands.state.store_flags import add_redis_flags, redis_in
from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError
from claude_openai.logs.log import NULL_LOG
from claude_openai.runs.capture.files import MAX_LISTED
from claude_openai.runs.usage.rows import DAYS_SHOWN

if TYPE_CHECKING:
    from claude_openai.runs.usage.book import Store

__all__ = ["parser", "run"]

_SETTING: Final = next(setting for setting in SETTINGS if setting.name == "usage_file")
HEAD: Final = ("", "COST", "INPUT", "FROM CACHE", "OUTPUT", "THINKING")


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser("usage", "Show tokens and dollars of today and of the last 7 days, and the plan's windows.")
    parser.add_argument("--json", action="store_true", help="print a JSON object, as GET /v1/usage, instead of a table")
    parser.add_argument(
        "--cache",
        action="store_true",
        help="show, for each recent conversation, the share of its prompts that came from Claude's prompt cache, and "
        "what broke the cached prefix",
    )
    help_text = "read this file; by default ask the running server, or read its file"
    parser.add_argument(_SETTING.flag, dest=_SETTING.name, metavar=_SETTING.metavar, help=help_text)
    add_redis_flags(parser, "read this Redis; without a running server, by default that of the variable")
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    if options.cache:
        report = cache_report(runs_of(None, environ).list(MAX_LISTED))
        print(json.dumps(report, indent=2) if options.json else "\n".join(cache_lines(report)))
        return 0
    names_store = options.usage_file is not None or options.state_url is not None
    instance = None if names_store else find_instance(instance_folder(environ))
    if instance is None:
        # As in a server, Redis replaces the file of the variable.
        redis = redis_in(options, environ) if options.usage_file is None else None
        usage = _usage_in(_path(options.usage_file, environ) if redis is None else redis)
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


def _usage_in(place: Path | tuple[str, str | None]) -> dict[str, Any]:
    # Imported here: the other commands start without SQLite.
    from claude_openai.runs.usage.book import StoreError
    from claude_openai.runs.usage.ledger import Ledger, book_of

    try:
        rows, account = _store_of(place).read((date.today() - timedelta(days=DAYS_SHOWN)).isoformat())
    except StoreError as error:
        raise StartError(f"cannot read the figures: {error}") from None
    book = book_of(None, NULL_LOG)
    if account is not None:
        book.put_account(account)
    return Ledger(book=book).report(rows, None)


def _store_of(place: Path | tuple[str, str | None]) -> "Store":
    if isinstance(place, Path):
        from claude_openai.runs.usage.store import UsageStore

        return UsageStore(place)
    from claude_openai.config.redis_url import parse_redis_url
    from claude_openai.state.opening import needing_extra

    with needing_extra():
        from claude_openai.runs.usage.redis_store import RedisUsageStore
    return RedisUsageStore(parse_redis_url(place[0]), place[1], date.today)


def _lines(usage: Mapping[str, Any]) -> Iterator[str]:
    today, week = usage["today"], usage["last_7_days"]
    rows = [HEAD, _row("today", today), _row("last 7 days", week)]
    rows += [_row(f"  {visible(each['model'])}", each) for each in week["by_model"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *numbers])
    if week["at_list_price_usd"]:
        yield f"{dollars(week['at_list_price_usd'])} of it is at list price: the plan covers it."
    if week["estimated_usd"]:
        yield f"{dollars(week['estimated_usd'])} of it is estimated: Claude Code has not reported it."
    yield from (visible(line) for line in _window_lines(usage))
    if usage["refusing"]:
        yield f"refusing turns: {usage['refusing']}"


def _row(name: str, amounts: Mapping[str, Any]) -> tuple[str, ...]:
    prompt, cached = amounts["input_tokens"], amounts["cache_read_tokens"]
    return (
        name,
        dollars(amounts["cost_usd"]),
        f"{prompt:,}",
        f"{cached / prompt:.0%}" if prompt > 0 else "",
        f"{amounts['output_tokens']:,}",
        f"{amounts['thinking_tokens']:,}",
    )


def _window_lines(usage: Mapping[str, Any]) -> Iterator[str]:
    for window in usage["windows"]:
        if window["utilization"] is None:
            state = "has reset since" if window["status"] == "reset" else window["status"] or "unknown"
        else:
            state = f"{window['utilization']:.0%} used"
            if window["resets_at"] is not None:
                state += f", resets {clock_time(window['resets_at'], time.time())}"
        yield f"{window['window']}: {state} (seen {_ago(window['age_s'])} ago)"
    if usage["overage"]["in_use"]:
        yield "overage: requests are paid beyond the plan"


def _ago(seconds: int) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
