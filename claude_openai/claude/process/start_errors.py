"""Errors of processes that could not be started, with hints."""

import re
import signal

from claude_openai.claude.process.version import RENEW
from claude_openai.errors import UpstreamError
from claude_openai.shortages import described, shortage_hint

__all__ = ["NotAsked", "start_error", "why_not_started"]

# A negative exit status is a signal, as in `subprocess`.
_ENDED_BY_SIGNAL = re.compile(r"ended with exit status -(\d+)")
# From Claude Code's error if it does not know a flag of ours.
_UNKNOWN_FLAG = "unknown option"


class NotAsked(Exception):
    """The waiting process cannot be used, and Claude was not asked, so another process can be tried."""


def start_error(why: str) -> UpstreamError:
    """Return the error for a process that ended before its turn began."""
    return UpstreamError(f"Claude Code could not be started: {why}.")


def why_not_started(error: BaseException) -> str:
    """Return the reason for `start_error`, with a hint."""
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
