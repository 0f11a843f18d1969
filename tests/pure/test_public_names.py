"""What is public: the `__all__` of three modules, the table in docs/testing.md, and one vocabulary."""

import re
from importlib import import_module

import pytest

from tests.docs_tables import DOCS

# The heads of the tables in "What is public".
MODULES = {
    "`claude_openai`": "claude_openai",
    "`claude_openai.testing`": "claude_openai.testing",
    "pytest": "claude_openai.pytest_plugin",
}


def tables() -> dict[str, list[str]]:
    """The names in the first column of each table, by the head of the table."""
    section = (DOCS / "testing.md").read_text("utf-8").partition("## What is public\n")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for table in re.findall(r"(?m)(?:^\|.*\n?)+", section):
        head, _, *rows = (line.split("|")[1].strip() for line in table.splitlines())
        found[head] = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    return found


def test_each_public_module_has_a_table() -> None:
    assert tables().keys() == MODULES.keys()


@pytest.mark.parametrize("head", MODULES)
def test_public_names_are_documented_once_and_exist(head: str) -> None:
    module = import_module(MODULES[head])
    assert sorted(tables()[head]) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_testing_offers_nothing_beside_its_public_names() -> None:
    import claude_openai.testing as module

    offered = {name for name, value in vars(module).items() if getattr(value, "__module__", "").startswith("claude_")}
    assert {name for name in offered if not name.startswith("_")} <= set(module.__all__)


@pytest.mark.parametrize("name", ["claude_openai", "claude_openai.testing"])
def test_misspelt_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"module '{name}' has no attribute 'misspelt'"):
        _ = import_module(name).misspelt
