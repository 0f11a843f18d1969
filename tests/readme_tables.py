"""The tables of the README that are made from the code. `python -m tests.readme_tables` writes them into it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from claude_openai.config import SETTINGS
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.field_types import Field, Use
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from tests.claims import claims_table, exceptions_table
from tests.clients.table import APIS, CASES, CLIENTS

README = Path(__file__).parents[1] / "README.md"

_WORDS = {
    Use.HONOURED: "Honoured",
    Use.IGNORED: "Accepted, without effect",
    Use.REFUSED: "Refused with a 400 that names it, unless its value asks for nothing",
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
    yield "\nWhat is missing there, a client cannot do:\n"
    for name, client in CLIENTS.items():
        if client.cannot:
            yield f"- {name}: {'; '.join(dict.fromkeys(client.cannot.values()))}"


def with_tables(text: str) -> str:
    """The README with its tables made anew."""
    tables = (
        ("settings", settings_table()),
        ("claims", claims_table()),
        ("exceptions", exceptions_table()),
        ("fields", fields_table(FIELDS)),
        ("responses fields", fields_table(RESPONSES_FIELDS)),
        ("clients", clients_table()),
        ("cases", cases_table()),
    )
    for name, table in tables:
        rows = "\n".join(table)
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(pattern, lambda m, rows=rows: f"{m[1]}{rows}\n{m[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"the README has {found} places for the table of {name}")
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
