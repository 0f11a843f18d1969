"""The README says what the code does."""

import ast
import json
import re
from pathlib import Path

import pytest

import claude_openai
from claude_openai import Config, __version__
from claude_openai.commands import COMMANDS
from claude_openai.config import SETTINGS
from tests.readme_tables import README, with_tables

TEXT = README.read_text("utf-8")


def test_the_tables_are_those_of_the_code() -> None:
    assert with_tables(TEXT) == TEXT, "run: python -m tests.readme_tables"


def test_every_flag_the_prose_names_exists() -> None:
    flags = {setting.flag for setting in SETTINGS}
    ours = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert ours <= flags | {"--no-log", "--no-show-tool-use"}, ours - flags


def test_every_variable_the_prose_names_exists() -> None:
    variables = {name for setting in SETTINGS for name in setting.variables}
    assert set(re.findall(r"\bCLAUDE_OPENAI_[A-Z_]+", TEXT)) <= variables


def test_how_long_runs_are_kept_is_what_the_config_says() -> None:
    days, rest = divmod(Config().output_max_age_ms, 24 * 3600 * 1000)
    mib, more = divmod(Config().output_max_bytes, 1024**2)
    assert (rest, more) == (0, 0)
    (setting,) = [setting for setting in SETTINGS if setting.name == "output_dir"]
    kept = f"for {days} days, {mib} MiB at most"
    assert kept in setting.help
    assert " ".join(TEXT.split()).count(kept) == 2  # in its table, and in the section of the runs


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
    """The rows of the last table: what one sees, what it means, what to do."""
    section = TEXT.partition("## When something is wrong")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]


TROUBLES = troubles()
SAID = texts_of_the_program()


@pytest.mark.parametrize("seen", [row[0] for row in TROUBLES])
def test_what_one_sees_is_what_the_program_says(seen: str) -> None:
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
    project = (README.parent / "pyproject.toml").read_text("utf-8")
    assert f'version = "{__version__}"' in project
