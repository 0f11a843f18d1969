"""The versions of Claude Code, and what the older ones lack."""

import pytest

from claude_openai.claude.process.start_errors import why_not_started
from claude_openai.claude.process.version import (
    LACKS,
    LEAST,
    LEAST_COMPLETE,
    RENEW,
    parse_version,
    shortcoming,
)


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("2.1.332 (Claude Code)\n", (2, 1, 332)),
        ("2.1.332", (2, 1, 332)),
        ("3.0\n", (3, 0)),
        ("", None),
        ("error: unknown option", None),
        ("v2", None),
    ],
)
def test_a_version_is_read_from_what_claude_prints(output: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(output) == version


def test_versions_are_compared_by_their_numbers() -> None:
    assert shortcoming((2, 1, 99)) == "2.1.99 is too old; expected 2.1.169 or newer"
    assert shortcoming((2, 2)) == shortcoming((3, 0, 0)) == shortcoming(LEAST_COMPLETE) == ""


@pytest.mark.parametrize(("least", "lack"), LACKS)
def test_what_a_version_lacks_is_named_up_to_the_one_that_has_it(least: tuple[int, ...], lack: str) -> None:
    *head, last = least
    assert lack in shortcoming((*head, last - 1))
    assert lack not in shortcoming(least)


def test_the_first_complete_version_is_the_last_bound() -> None:
    assert tuple(sorted(LACKS, reverse=True)) == LACKS
    assert LACKS[-1][0] > LEAST


def test_all_but_the_oldest_are_said_to_answer() -> None:
    assert "too old" not in shortcoming(LEAST)
    assert "too old" in shortcoming((*LEAST[:-1], LEAST[-1] - 1))


def test_a_flag_that_claude_does_not_know_is_a_matter_of_its_age() -> None:
    error = RuntimeError("it ended with exit status 1; end of its standard error: error: unknown option '--safe-mode'")
    assert why_not_started(error).endswith(f"this Claude Code is too old; {RENEW}")
