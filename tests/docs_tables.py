"""The tables of the documentation that are generated from code and data: `python -m tests.docs_tables` writes them."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from claude_openai.claude.process.version import LACKS, LEAST, show_version
from claude_openai.config import SETTINGS
from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.completions.fields import COMPLETIONS_FIELDS
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.wire.field_types import Field, Use
from tests.capacity_table import capacity_table
from tests.claims import claims_table, exceptions_table
from tests.clients.table import APIS, CASES, CLIENTS

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "claude_openai" / "docs"
PAGES: Final = (README, *sorted(DOCS.glob("*.md")))


def blocks(language: str) -> list[tuple[str, str]]:
    """The code blocks of all pages in a language, each with the name of its page."""
    pattern = re.compile(rf"(?ms)^```{language}\n(.*?)^```$")
    return [(page.name, text) for page in PAGES for text in pattern.findall(page.read_text("utf-8"))]


_WORDS = {
    Use.HONOURED: "Honoured",
    Use.IGNORED: "Accepted, without effect",
    Use.REFUSED: "Refused with a 400, unless the value is the default",
}


def settings_table() -> Iterator[str]:
    yield "| Flag | Variable | Default | What it does |"
    yield "|---|---|---|---|"
    for setting in SETTINGS:
        flag = f"`{setting.flag}{' ' + setting.metavar if setting.metavar else ''}`" if setting.flag else ""
        variables = ", ".join(f"`{name}`" for name in setting.variables)
        shown = setting.shown_default
        default = f"`{shown}`" if shown and setting.metavar else shown
        yield f"| {flag} | {variables} | {default} | {setting.help} |"


def fields_table(fields: Mapping[str, Field]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for use, words in _WORDS.items():
        names = ", ".join(f"`{name}`" for name, field in fields.items() if field.use is use)
        yield f"| {words} | {names} |"
    yield "| Ignored | every other field |"


def versions_table() -> Iterator[str]:
    yield "| A version older than | |"
    yield "|---|---|"
    for least, lack in LACKS:
        yield f"| {show_version(least)} | {lack} |"
    yield f"| {show_version(LEAST)} | cannot be used |"


def clients_table() -> Iterator[str]:
    yield "| Client | Tested with |"
    yield "|---|---|"
    for name, client in CLIENTS.items():
        pins = [re.sub(r"==|(?<=.)@", " ", pin) for pin in (*client.pip, *client.npm)]
        yield f"| {name} | {', '.join(pins)} |"


def cases_table() -> Iterator[str]:
    yield f"| Client | API | {' | '.join(CASES.values())} |"
    yield "|---|---" + "|---" * len(CASES) + "|"
    for name, client in CLIENTS.items():
        can = client.cases()
        for api in client.apis:
            title, prefix = APIS[api]
            cells = ["yes" if can[prefix + case] else "–" for case in CASES]
            yield f"| {name} | {title} | {' | '.join(cells)} |"
    yield "\nA dash means that the client itself lacks the feature:\n"
    for name, client in CLIENTS.items():
        if client.cannot:
            yield f"- {name}: {'; '.join(dict.fromkeys(client.cannot.values()))}"


# File -> the names of its tables and what makes their lines.
TABLES: Final[Mapping[str, Mapping[str, Callable[[], Iterator[str]]]]] = {
    "configuration.md": {"settings": settings_table},
    "how-it-works.md": {"claims": claims_table, "exceptions": exceptions_table},
    "api.md": {
        "fields": partial(fields_table, FIELDS),
        "completions fields": partial(fields_table, COMPLETIONS_FIELDS),
        "responses fields": partial(fields_table, RESPONSES_FIELDS),
        "messages fields": partial(fields_table, MESSAGES_FIELDS),
    },
    "replicas.md": {"capacity": capacity_table},
    "compatibility.md": {"versions": versions_table, "clients": clients_table, "cases": cases_table},
}


def with_tables(file: str) -> str:
    """The text of a page with its tables generated again.

    Args:
        file: a key of `TABLES`.

    Raises:
        ValueError: the page has no place for a table, or several.
    """
    text = (DOCS / file).read_text("utf-8")
    for name, table in TABLES[file].items():
        rows = "\n".join(table())
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(pattern, lambda m, rows=rows: f"{m[1]}{rows}\n{m[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{file}: {found} places for the table {name!r}; expected 1")
    return text


if __name__ == "__main__":
    for page in TABLES:
        (DOCS / page).write_text(with_tables(page), "utf-8")
