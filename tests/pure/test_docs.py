"""The README and the pages of the documentation agree with the code, and their links resolve."""

import ast
import json
import re
from pathlib import Path

import pytest

import claude_openai
from claude_openai import Config, __version__
from claude_openai.commands.table import COMMANDS, visible_commands
from claude_openai.config import SETTINGS
from tests.docs_tables import DOCS, PAGES, README, ROOT, TABLES, with_tables

TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_of_a_page_are_those_of_the_code(page: str) -> None:
    assert with_tables(page) == (DOCS / page).read_text("utf-8"), "run: python -m tests.docs_tables"


def test_every_flag_the_prose_names_exists() -> None:
    flags = {setting.flag for setting in SETTINGS} | flags_of_the_commands()
    ours = set(re.findall(r"`(--[a-z-]+)", TEXT)) | set(re.findall(r"claude-openai [a-z -]*(--[a-z-]+)", TEXT))
    assert ours <= flags | {"--no-log", "--no-show-tool-use", "--no-store", "--help"}, ours - flags


def flags_of_the_commands() -> set[str]:
    """The first arguments of all calls `parser.add_argument("--flag", ...)`."""
    found = set()
    for path in Path(claude_openai.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="add_argument"), args=names):
                    found |= {str(name.value) for name in names if isinstance(name, ast.Constant)}
    return found


def links() -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
        if not target.startswith("https://")
    ]


@pytest.mark.parametrize(("page", "target"), links())
def test_a_relative_link_resolves(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.is_file()
    if anchor:
        assert anchor in anchors(file.read_text("utf-8"))


def anchors(markdown: str) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    without_code = re.sub(r"(?ms)^```.*?^```$", "", markdown)
    headings = re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {target.partition("#")[0] for page, target in links() if page == README.name}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} - {README.name} <= linked


def test_the_readme_is_two_screens_long() -> None:
    assert README.read_text("utf-8").count("\n") <= 130


def test_every_variable_the_prose_names_exists() -> None:
    variables = {name for setting in SETTINGS for name in setting.variables}
    assert set(re.findall(r"\bCLAUDE_OPENAI_[A-Z_]+", TEXT)) <= variables


def test_every_command_the_prose_names_exists() -> None:
    named = re.findall(r"`claude-openai ([a-z]+)", TEXT) + re.findall(r"^claude-openai ([a-z]+)", TEXT, re.MULTILINE)
    assert set(named) <= COMMANDS.keys()
    assert visible_commands().keys() <= set(named), "a command is documented nowhere"


def test_how_long_runs_are_kept_is_what_the_config_says() -> None:
    days, rest = divmod(Config().output_max_age_ms, 24 * 3600 * 1000)
    mib, more = divmod(Config().output_max_bytes, 1024**2)
    assert (rest, more) == (0, 0)
    (setting,) = [setting for setting in SETTINGS if setting.name == "output_dir"]
    kept = f"for {days} days, {mib} MiB at most"
    assert kept in setting.help
    for page in ("configuration.md", "runs.md"):
        assert kept in " ".join((DOCS / page).read_text("utf-8").split())


def texts_of_the_program() -> str:
    """All its texts; where one has a value put in, there is a `0`."""
    texts: list[str] = []
    for path in Path(claude_openai.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
                texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def troubles() -> list[list[str]]:
    """The rows of the table of messages: what one sees, what it means, what to do."""
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    section = page.partition("## Messages")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]


TROUBLES = troubles()
SAID = texts_of_the_program()


@pytest.mark.parametrize("seen", [row[0] for row in TROUBLES])
def test_documented_message_is_in_the_program(seen: str) -> None:
    quoted = re.findall(r"`([^`]+)`", seen)
    assert quoted
    for words in quoted:
        assert words in SAID or re.sub(r"[\d.]+", "0", words) in SAID, words


@pytest.mark.parametrize("do", [row[2] for row in TROUBLES])
def test_what_one_is_to_do_can_be_done(do: str) -> None:
    assert set(re.findall(r"`claude-openai ([a-z]+)", do)) <= COMMANDS.keys()


def test_there_is_a_row_for_what_keeps_a_server_from_starting_and_a_run_from_being_kept() -> None:
    seen = "\n".join(row[0] for row in TROUBLES)
    for words in ("another claude-openai", "was not written by", "ended before it was ready", "runs.not_captured"):
        assert words in seen
    assert "`run_cancelled`" in seen
    assert "`tools`" in seen


def test_the_configurations_are_valid_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        json.loads(block)


def test_the_version_is_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{__version__}"' in project
