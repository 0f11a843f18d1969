"""The report of `python -m tests.compat`."""

from tests.compat.__main__ import differences
from tests.conditions import CONDITIONS

OUTPUT = """
SKIPPED [2] tests/conftest.py:58: exact-claude is not on this machine: {exact}
SKIPPED [1] tests/conftest.py:58: exact-claude is not on this machine: {exact}
SKIPPED [1] tests/conftest.py:58: bubblewrap is not on this machine: install bubblewrap
FAILED tests/real/test_a.py::test_b[/help] - AssertionError: no - really
ERROR tests/real/test_a.py::test_c
"""


def test_what_a_version_is_documented_to_lack_is_told_from_what_the_machine_lacks_and_from_failures() -> None:
    exact = CONDITIONS["exact-claude"][1]
    assert list(differences(OUTPUT.format(exact=exact))) == [
        f"  as documented: {exact} (3 tests)",
        "  not tested here: install bubblewrap (1 tests)",
        "  UNEXPECTED: test_b[/help]",
        "  UNEXPECTED: test_c",
    ]
