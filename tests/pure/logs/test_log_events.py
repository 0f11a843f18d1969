"""The table of log events in the documentation is what the code logs: the same names, at the same levels."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import claude_openai
from claude_openai.logs.log import Level
from tests.docs_tables import DOCS

FOLDER = Path(claude_openai.__file__).parent
LEVELS = {level.name.lower() for level in Level}


def documented() -> dict[str, set[str]]:
    table = (DOCS / "watching.md").read_text("utf-8").partition("| Event | Level |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([a-z, ]+) \|.*\|.*\|$", table, re.MULTILINE)
    assert len(rows) == table.count("\n| `")
    assert len({name for name, _ in rows}) == len(rows)
    return {name: set(levels.split(", ")) for name, levels in rows}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield level and event of each call that logs: `x.log.debug("a.b")`, `log.log(level, "a.b")`, `_line(...)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=receiver, attr=method), args=[first, *rest]):
                if not ast.unparse(receiver).endswith("log"):
                    continue
                if method in LEVELS:
                    yield method, first
                elif method == "log":
                    yield "any", rest[0]
            case ast.Call(func=ast.Name("_line"), args=[ast.Name(level), ast.Constant() as event, _]):
                yield level.strip("_").lower(), event


def logged() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in FOLDER.rglob("*.py"):
        for level, event in calls(ast.parse(path.read_text("utf-8"))):
            assert isinstance(event, ast.Constant), f"{path.name}:{event.lineno}: the event's name is not written there"
            found.setdefault(str(event.value), set()).add(level)
    return found


def test_every_event_that_is_logged_is_in_the_table_with_its_levels_and_no_other_is() -> None:
    assert documented() == logged()


def test_the_events_that_tools_for_reading_the_log_count_on_are_there() -> None:
    assert documented().keys() >= {
        *("server.start", "http.request", "openai.request", "openai.effective_request", "adapter.claude_args"),
        *("sdk.message", "sdk.structured_tool_call", "sdk.can_use_tool", "openai.response"),
        *("openai.stream_tool_calls", "sdk.error"),
    }
