"""The lines of the live view. Pure: a model, a size and a time become text.

From top to bottom: the server and the account, the table of runs, the selected run with the end of its text, and one
line with the keys, a question or a result. What does not fit is left out, first columns and then the selected run.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len, chop_cells
from rich.text import Text

from claude_openai.commands.figures import clock_time, cost_of, dollars, seconds, times_of, tokens_of
from claude_openai.commands.state.run_source import visible
from claude_openai.commands.top.feed import WatchedRun
from claude_openai.commands.top.model import KEYS, Mode, Model

__all__ = ["screen"]

HEAD: Final = ("RUN", "STATUS", "MODEL", "CLIENT", "ROUTE", "WAITED", "FIRST", "TIME", "TOKENS", "COST", "ERROR")
# Columns to drop when the terminal is too narrow, the least important first.
EXPENDABLE: Final = ("ROUTE", "CLIENT", "WAITED", "FIRST", "COST", "ERROR", "TOKENS", "MODEL")
# Widths that most cells have, so that columns do not move with each update.
USUAL_WIDTHS: Final = {"STATUS": 9, "MODEL": 13, "WAITED": 6, "FIRST": 6, "TIME": 6, "TOKENS": 9, "COST": 8}
GAP: Final = "  "
ID_CHARS: Final = 12
# The selected run gets a third of the lines, if these are enough for a header, a table and it.
LEAST_LINES: Final = 14
MAX_HEADER: Final = 6
NEARLY_FULL: Final = 0.8
FOOTER: Final = "j/k select   c cancel   space pause   ? help   q quit"
_STYLES: Final = {"queued": "yellow", "running": "green", "parked": "cyan", "failed": "red", "cancelled": "magenta"}


def screen(model: Model, width: int, height: int, now: float) -> list[Text]:
    """Return `height` lines, none wider than `width` columns.

    Args:
        model: what to show.
        width: columns of the terminal, at least 1.
        height: lines of the terminal, at least 1.
        now: the present, in seconds since 1970.
    """
    now = now if model.held_at is None else model.held_at
    head = _header(model, width, now)[: max(0, min(MAX_HEADER, height - 3))]
    if model.mode is Mode.HELP:
        body = _help()
    else:
        left = height - len(head) - 1
        below = left // 3 if height >= LEAST_LINES else 0
        table = _table(model, width, left - below, now)
        # The selected run keeps its place while its text grows.
        body = [*table, *[Text()] * (left - below - len(table)), *(_detail(model, width, below) if below else ())]
    lines = [*head, *body[: height - len(head) - 1]]
    lines += [Text()] * (height - 1 - len(lines))
    return [_cut(line, width) for line in (*lines, _footer(model, now))]


def _header(model: Model, width: int, now: float) -> list[Text]:
    state = model.shown.state
    lines = _flow(_server_items(model), width)
    lines += _flow(_account_items(state, now), width)
    messages = [] if model.problem else [reason["message"] for reason in _reasons(state)]
    messages += [f"refusing turns: {state['refusing']}"] if state.get("refusing") else []
    messages += [f"cannot read the figures: {state['problem']}"] if state.get("problem") else []
    return [*lines, *(Text(_one_line(message), "red") for message in messages)]


def _server_items(model: Model) -> Iterator[Text]:
    server, state = model.shown.server, model.shown.state
    yield Text(_one_line(f"claude-openai {server.get('version', '')}"), "bold")
    yield Text(model.address)
    if model.problem:
        yield Text(_one_line(model.problem), "bold red")
    elif state:
        names = ", ".join(_one_line(reason.get("reason")) for reason in _reasons(state))
        yield Text(f"not ready: {names}", "bold red") if names else Text("ready", "green")
        if state.get("login") and state["login"] != "unchecked":
            yield Text(f"login {_one_line(state['login'])}", "" if state["login"] != "missing" else "red")
    for name, number in (state.get("counts") or {}).items():
        yield Text(f"{number} {name}", _STYLES.get(name, "") if number else "dim")
    slots = state.get("slots")
    if slots:
        is_full = slots["running"] >= slots["max_concurrency"]
        yield Text(f"{slots['running']} of {slots['max_concurrency']} slots", "yellow" if is_full else "")
    kinds = Counter(process["kind"] for process in state.get("processes") or ())
    if kinds:
        yield Text("processes: " + ", ".join(f"{number} {_one_line(kind)}" for kind, number in kinds.items()))
    if state.get("memory_mb") is not None:
        yield Text(f"{state['memory_mb']:,.0f} MB")


def _account_items(state: Mapping[str, Any], now: float) -> Iterator[Text]:
    today = state.get("usage")
    if today:
        at_list_price = " at list price" if today.get("at_list_price_usd") else ""
        yield Text(f"today {dollars(today['cost_usd'])}{at_list_price}")
    for window in state.get("limits") or ():
        used, resets_at = window["utilization"], window["resets_at"]
        if used is None:
            continue
        reset = "" if resets_at is None else f", resets {clock_time(resets_at, now)}"
        style = "bold red" if used >= 1 else "yellow" if used >= NEARLY_FULL else ""
        yield Text(f"{_one_line(window['window'])} {used:.0%}{reset}", style)
    if (state.get("overage") or {}).get("in_use"):
        yield Text("paid beyond the plan", "bold red")
    errors = sum(error.get("count", 1) for error in state.get("errors") or ())
    if errors:
        yield Text(f"{errors} error{'s' if errors > 1 else ''} in the last hour", "red")


def _reasons(state: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    reasons: Sequence[Mapping[str, Any]] = (state.get("ready") or {}).get("reasons", ())
    return reasons


def _table(model: Model, width: int, height: int, now: float) -> list[Text]:
    runs, index = model.shown.runs, model.index
    if not runs:
        return [Text(), Text("no runs yet" if model.shown.server else "", "dim")]
    first = max(0, min(index - (height - 1) // 2, len(runs) - (height - 1)))
    shown = runs[first : first + height - 1]
    rows = [HEAD, *(_row(run, now) for run in shown)]
    widths = [max(USUAL_WIDTHS.get(name, 0), *(cell_len(row[at]) for row in rows)) for at, name in enumerate(HEAD)]
    columns = [at for at, name in enumerate(HEAD) if name != "ERROR" or any(row[at] for row in rows[1:])]
    for name in EXPENDABLE:
        if 2 + sum(widths[at] + len(GAP) for at in columns) - len(GAP) > width and HEAD.index(name) in columns:
            columns.remove(HEAD.index(name))
    lines = []
    for number, row in enumerate(rows):
        is_selected = number == index - first + 1
        line = Text("> " if is_selected else "  ")
        for at in columns:
            line.append(row[at] + " " * (widths[at] - cell_len(row[at])), _style(HEAD[at], row, is_head=not number))
            line.append(GAP)
        line.rstrip()
        if is_selected:
            line.pad_right(max(0, width - line.cell_len))
            line.stylize("reverse")
        lines.append(line)
    return lines


def _row(run: WatchedRun, now: float) -> tuple[str, ...]:
    record = run.record
    waited, took = times_of(record, now)
    error = record.error
    cells = (
        record.id[:ID_CHARS],
        record.status,
        record.model,
        run.client,
        record.conversation or "",
        seconds(waited),
        seconds(run.ttft_ms),
        seconds(took),
        tokens_of(record),
        cost_of(record),
        str(error.get("code") or error.get("type") or "error") if error else "",
    )
    return tuple(_one_line(cell) for cell in cells)


def _style(column: str, row: Sequence[str], *, is_head: bool) -> str:
    if is_head:
        return "bold"
    return {"STATUS": _STYLES.get(row[HEAD.index("STATUS")], ""), "ERROR": "red"}.get(column, "")


def _detail(model: Model, width: int, height: int) -> Iterator[Text]:
    run = model.run
    if run is None:
        return
    title = f"── {run.record.id} {run.record.status} "
    yield Text(title + "─" * max(0, width - cell_len(title)), "dim")
    error = [] if run.record.error is None else _wrapped(_error_text(run), width)[: height - 1]
    yield from (Text(line, "red") for line in error)
    left = height - 1 - len(error)
    text = [piece for line in run.text.expandtabs(4).split("\n") for piece in _wrapped(line, width)]
    yield from (Text(line) for line in text[max(0, len(text) - left) :] if left)


def _error_text(run: WatchedRun) -> str:
    message = _one_line((run.record.error or {}).get("message") or "failed")
    # The message of an error ends with its hint already, unless they are sent apart.
    return message if not run.hint or run.hint in message else f"{message} {_one_line(run.hint)}"


def _footer(model: Model, now: float) -> Text:
    run = model.run
    if model.mode is Mode.CONFIRM and run is not None:
        took = seconds(times_of(run.record, now)[1])
        return Text(f"cancel {run.record.id[:ID_CHARS]} ({_one_line(run.record.model)}, {took})? y/n", "bold yellow")
    if model.mode is Mode.HELP:
        return Text("any key closes the help", "bold")
    line = Text("paused ", "bold yellow") if model.held is not None else Text()
    return line.append(_one_line(model.notice), "bold") if model.notice else line.append(FOOTER, "dim")


def _help() -> list[Text]:
    return [Text(), *(Text(f"  {keys:<20}{what}") for keys, what in KEYS)]


def _flow(items: Iterable[Text], width: int) -> list[Text]:
    """Put items side by side, in as many lines as needed."""
    lines: list[Text] = []
    for item in items:
        if lines and lines[-1].cell_len + 3 + item.cell_len <= width:
            lines[-1].append("   ").append_text(item)
        else:
            lines.append(Text().append_text(item))
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Break a line between words where possible, by the columns that characters take."""
    lines = [""]
    for word in text.split(" "):
        if not lines[-1]:
            lines[-1] = word
        elif cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
        if cell_len(lines[-1]) > width:
            lines[-1:] = chop_cells(lines[-1], width)
    return lines


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap, line.overflow = True, "crop"
    return line


def _one_line(text: object) -> str:
    return " ".join(visible(str(text or "")).split())
