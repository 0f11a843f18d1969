"""Each claim and each exception of the documentation names tests that exist."""

import ast
from pathlib import Path

import pytest

from tests.claims import CLAIMS, EXCEPTIONS

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("test", sorted({test for shown in (*CLAIMS, *EXCEPTIONS) for test in shown.tests}))
def test_a_test_that_the_documentation_names_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_is_shown_by_a_test() -> None:
    assert all(shown.tests for shown in (*CLAIMS, *EXCEPTIONS))


@pytest.mark.parametrize("word", ["hermetic", "verbatim", "one upstream call"])
def test_each_word_that_the_readme_uses_of_the_server_is_a_claim(word: str) -> None:
    assert word in (TESTS.parent / "README.md").read_text("utf-8").lower()
    assert word in " ".join(claim.text for claim in CLAIMS).lower()
