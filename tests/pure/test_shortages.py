"""What a system lacks, in the client's error."""

import errno
import os

import pytest

from claude_openai.claude.process.start_errors import start_error, why_not_started
from claude_openai.shortages import described, shortage_hint

HINTS = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "free some disk space",
    errno.EFBIG: "ulimit -f",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "the whole system",
    errno.EAGAIN: "ulimit -u",
    errno.ENOMEM: "free some memory",
}


def error_of(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/some/path")


@pytest.mark.parametrize(("number", "hint"), HINTS.items())
def test_process_that_cannot_start_is_reported_with_a_remedy(number: int, hint: str) -> None:
    error = start_error(why_not_started(error_of(number)))
    assert error.message.startswith(f"Claude Code could not be started: {described(error_of(number))}; ")
    assert hint in error.message
    assert "--claude-command" not in error.message


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, "No such file or directory", "claude"), ValueError("odd"), OSError("odd")]
)
def test_what_is_no_shortage_sends_to_doctor(error: Exception) -> None:
    assert shortage_hint(error) == ""
    assert (
        why_not_started(error) == f"{described(error)}; `claude-openai doctor` checks Claude Code and --claude-command"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [(9, "'Killed' usually means that the system lacks memory"), (6, "lacks memory"), (25, "disk space")],
)
def test_process_ended_by_a_signal_is_reported_as_a_shortage(status: int, words: str) -> None:
    assert words in why_not_started(RuntimeError(f"it ended with exit status -{status}; end of its standard error: x"))


def test_process_that_exited_is_no_shortage() -> None:
    assert "doctor" in why_not_started(RuntimeError("it ended with exit status 9"))


def test_error_is_shown_without_its_number() -> None:
    assert described(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert described(OSError(errno.ENOENT, "No such file", "/x")) == "No such file: '/x'"
    assert described(OSError("odd")) == "odd"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_shortage_of_descriptors_does_not_name_the_file(number: int) -> None:
    assert described(error_of(number)) == os.strerror(number)
