"""`help`: list the pages of the documentation, show one, or show the flags of a command.

The pages are the files of `claude_openai/docs`. On a terminal they are wrapped and shown in a pager; elsewhere the
Markdown is printed as it is.
"""

import pydoc
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from claude_openai.commands.table import command_parser, run_command, visible_commands
from claude_openai.config.setting import Parser
from claude_openai.config.suggestions import did_you_mean
from claude_openai.errors import ConfigError

__all__ = ["DOCS", "for_terminal", "parser", "run", "topics"]

DOCS: Final = Path(__file__).parents[1] / "docs"
MAX_COLUMNS: Final = 100

_FENCED: Final = re.compile(r"(?ms)^```\w*\n(.*?)^```$")
_CELLS: Final = re.compile(r"(?<!\\)\|")
_LIST_ITEM: Final = re.compile(r"(?:- |\d+\. )")
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "help", "Show a page of the documentation, in a pager on a terminal. Without TOPIC, list them."
    )
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help="a page of the documentation, or a command")
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the list of topics, a page, or the flags of a command."""
    topic = parser().parse_args(list(argv)).topic
    pages = topics()
    if topic is None:
        print("\n".join(_list_of(pages)))
    elif topic in pages:
        _show(topic)
    elif topic in visible_commands():
        run_command(topic, ["--help"], environ)
    else:
        raise _unknown(topic, pages)
    return 0


def topics() -> dict[str, str]:
    """Return the title of each page, by the name of the page."""
    return {path.stem: path.read_text("utf-8").partition("\n")[0].lstrip("# ") for path in sorted(DOCS.glob("*.md"))}


def for_terminal(markdown: str, width: int) -> str:
    """Format a page for a terminal.

    Args:
        markdown: the page, in the subset of Markdown that the documentation uses.
        width: columns; paragraphs are wrapped to it, and wider tables become lists.
    """
    return "\n".join(_lines(markdown, width)) + "\n"


def _show(topic: str) -> None:
    text = (DOCS / f"{topic}.md").read_text("utf-8")
    more = f"`claude-openai {topic} --help` shows the flags of the command.\n" if topic in visible_commands() else ""
    if sys.stdout.isatty():
        width = min(shutil.get_terminal_size().columns, MAX_COLUMNS)
        pydoc.pager("\n".join(filter(None, (for_terminal(text, width), more))))
    else:
        print("\n".join(filter(None, (_without_comments(text), more))), end="")


def _list_of(pages: Mapping[str, str]) -> Iterator[str]:
    column = max(map(len, pages))
    yield "claude-openai help TOPIC shows one of these pages:\n"
    for name, title in pages.items():
        yield f"  {name:<{column}}  {title}"
    yield "\nclaude-openai COMMAND --help shows the flags of a command:\n"
    yield from textwrap.wrap(
        ", ".join(visible_commands()),
        78,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )


def _unknown(topic: str, pages: Mapping[str, str]) -> ConfigError:
    hint = did_you_mean(topic, [*pages, *visible_commands()])
    if not hint:
        found = [page for page in pages if topic.lower() in (DOCS / f"{page}.md").read_text("utf-8").lower()]
        hint = f"pages that mention it: {', '.join(found)}" if found else "claude-openai help lists the topics"
    return ConfigError(f"unknown help topic: {topic!r}", hint=hint)


def _without_comments(markdown: str) -> str:
    return re.sub(r"(?m)^<!-- .* -->\n", "", markdown)


def _lines(markdown: str, width: int) -> Iterator[str]:
    for index, part in enumerate(_FENCED.split(_without_comments(markdown))):
        if index % 2:
            yield from ("    " + line for line in part.splitlines())
            yield ""
            continue
        for block in filter(None, re.split(r"\n{2,}", part.strip("\n"))):
            yield from _block(block.split("\n"), width)
            yield ""


def _block(lines: Sequence[str], width: int) -> Iterator[str]:
    if lines[0].startswith("|"):
        yield from _table([_cells(line) for line in lines], width)
    elif lines[0].startswith("#"):
        yield from _wrapped(lines[0].lstrip("# ").upper(), width)
    else:
        yield from _paragraphs(lines, width)


def _paragraphs(lines: Sequence[str], width: int) -> Iterator[str]:
    """Wrap a paragraph, or each item of a list."""
    joined: list[str] = []
    for line in lines:
        if joined and not _LIST_ITEM.match(line):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    for text in joined:
        item = _LIST_ITEM.match(text)
        yield from _wrapped(_without_links(text), width, " " * (item.end() if item else 0))


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _cells(line: str) -> list[str]:
    return [_without_links(cell.strip()) for cell in _CELLS.split(line.strip().strip("|"))]


def _table(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Format rows in columns if they fit, otherwise as a list with an entry for each row."""
    head, body = rows[0], rows[2:]
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    if sum(widths) + 2 * len(widths) <= width:
        for row in (head, *body) if any(head) else body:
            yield "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        return
    for row in body:
        first = next(index for index, cell in enumerate(row) if cell)
        yield from _wrapped(row[first], width, "  ")
        for name, cell in zip(head[first + 1 :], row[first + 1 :], strict=True):
            if cell:
                yield from _wrapped(f"    {name}: {cell}" if name else f"    {cell}", width, "      ")


def _without_links(text: str) -> str:
    """Replace links to other pages by the command that shows the page, and other links by their address."""

    def plain(found: re.Match[str]) -> str:
        page = re.fullmatch(r"([a-z-]+)\.md(#.*)?", found[2])
        address = f"claude-openai help {page[1]}" if page else found[2]
        return f"{found[1]} ({address})"

    return _LINK.sub(plain, text)
