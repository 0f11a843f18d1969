"""The README says what the code does."""

import json
import re

from claude_openai import __version__
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


def test_the_configurations_are_valid_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        json.loads(block)


def test_the_version_is_the_same_everywhere() -> None:
    project = (README.parent / "pyproject.toml").read_text("utf-8")
    assert f'version = "{__version__}"' in project
