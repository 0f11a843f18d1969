"""Errors of a process that could not be started, and what helps."""

import re
import signal

from claude_openai.claude.process.version import RENEW
from claude_openai.errors import UpstreamError
from claude_openai.shortages import described, shortage_hint

__all__ = ["NotAsked", "start_error", "why_not_started"]

# `process` tells of a signal so, as `subprocess` does.
_ENDED_BY_SIGNAL = re.compile(r"ended with exit status -(\d+)")
# How Claude Code ends when it does not know a flag of ours.
_UNKNOWN_FLAG = "unknown option"


class NotAsked(Exception):
    """Claude was not asked, since the process that waited cannot be used; another can be tried. Tells why."""


def start_error(why: str) -> UpstreamError:
    """The error for a process that never came as far as a turn."""
    return UpstreamError(f"Claude Code could not be started: {why}.")


def why_not_started(error: BaseException) -> str:
    """The reason for `start_error`, and what helps."""
    why = described(error)
    hint = (
        shortage_hint(error)
        or _signal_hint(why)
        or _age_hint(why)
        or "`claude-openai doctor` checks Claude Code and --claude-command"
    )
    return f"{why}; {hint}"


def _signal_hint(why: str) -> str:
    found = _ENDED_BY_SIGNAL.search(why)
    if found is None:
        return ""
    lacks = "disk space (ulimit -f)" if int(found[1]) == signal.SIGXFSZ else "memory, processes or threads"
    return f"{signal.strsignal(int(found[1]))!r} usually means that the system lacks {lacks}"


def _age_hint(why: str) -> str:
    return f"this Claude Code is too old; {RENEW}" if _UNKNOWN_FLAG in why else ""
