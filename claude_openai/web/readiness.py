"""Whether the server would accept a turn now, as far as it knows without using Claude; and what else is wrong.

The messages contain no paths and no amounts: `/ready` needs no key.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from claude_openai.logs.log import Log
from claude_openai.runs.registry import LOGIN_DOUBT_S, Runs

__all__ = ["readiness"]

# `/ready` ignores a used-up plan after this time, for the reason of `LOGIN_DOUBT_S`: extra usage may be turned on.
PLAN_DOUBT_S: Final = 300.0

_MESSAGES: Final = {
    "draining": "The server is stopping: running turns may end, new requests are rejected. Use another server, or "
    "start this one again.",
    "lame_duck": "The server will stop: it takes new requests for the time of --lame-duck-ms, and then rejects them. "
    "Send them to another server.",
    "no_cli": "Claude Code was not found. Run `npm install -g @anthropic-ai/claude-code` on the machine of this "
    "server, which needs no restart then, or start the server with --claude-command PATH.",
    "not_logged_in": "At the last turn Claude Code was not logged in, or Claude rejected its login. The error of that "
    "turn has the command that logs in; or start the server with ANTHROPIC_API_KEY. The next successful turn clears "
    f"this; without a turn the server reports ready again after {LOGIN_DOUBT_S / 60:g} minutes, as the login may have "
    "been renewed.",
    "login_missing": "Claude Code is not logged in. Run `claude auth login` as the user of this server, which needs no "
    "restart then, or start the server with ANTHROPIC_API_KEY.",
    "queue_full": "All slots and the queue are full. Wait, or start the server with a larger --max-concurrency or "
    "--max-queue-size.",
    "cli_too_old": "Claude Code is too old. Update it with `npm install -g @anthropic-ai/claude-code`, which needs no "
    "restart, or start the server without --claude-command.",
    "usage_limit": "A limit of the operator is reached (--max-cost-per-day or --stop-at-utilization). `claude-openai "
    "usage` shows which, and when it ends.",
    "plan_used_up": "Claude refused a turn because a window of the plan is used up. `claude-openai usage` shows when "
    f"it resets. Without a turn the server reports ready again after {PLAN_DOUBT_S / 60:g} minutes, as extra usage may "
    "have been turned on.",
}
_WARNINGS: Final = {
    "limit_high": "A window of the plan is used by 80 % or more. `claude-openai usage` shows it.",
    "keys_not_read": "The keys file cannot be used since its last change, so the keys before it are still accepted, "
    "also if the change revokes them. The log has the reason (keys.not_read).",
    "log_not_written": "The log cannot be written: {}. Make room, or start the server with another --log-file.",
    "usage_not_saved": "The figures of usage cannot be saved, and are kept in memory: {}. Make room, start the "
    "server with another --usage-file, or check the Redis of --state-url.",
    "store_not_reached": "The store of responses cannot be read or written, so responses are kept in memory: {}.",
}


def readiness(runs: Runs, status: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Return the body of `/ready`.

    Args:
        runs: the runs of the server.
        status: that of the backend.
        log: the log of the server.
    """
    reasons = [{"reason": reason, "message": _MESSAGES[reason]} for reason in _reasons(runs, status)]
    warnings = [{"reason": reason, "message": message} for reason, message in _warnings(runs, status, log)]
    return {"ready": not reasons, "reasons": reasons, "warnings": warnings}


def _reasons(runs: Runs, status: Mapping[str, Any]) -> Iterator[str]:
    if runs.admission.draining:
        yield "draining"
    elif runs.admission.stopping:
        yield "lame_duck"
    claude = status.get("claude", {})
    if not claude.get("found", True):
        yield "no_cli"
    if claude.get("too_old"):
        yield "cli_too_old"
    if claude.get("login") == "missing":
        yield "login_missing"
    elif runs.login_refused:
        yield "not_logged_in"
    if runs.admission.full:
        yield "queue_full"
    if runs.ledger.refusal() is not None:
        yield "usage_limit"
    elif runs.ledger.is_plan_used_up(PLAN_DOUBT_S):
        yield "plan_used_up"


def _warnings(runs: Runs, status: Mapping[str, Any], log: Log) -> Iterator[tuple[str, str]]:
    """Yield what does not refuse turns."""
    claude = status.get("claude", {})
    if claude.get("outdated") and not claude["too_old"]:
        yield "cli_outdated", f"{claude['outdated']}."
    if runs.keys is not None and runs.keys.problem:
        yield "keys_not_read", _WARNINGS["keys_not_read"]
    details = {
        "limit_high": bool(runs.ledger.header),
        "log_not_written": log.problem,
        "usage_not_saved": runs.ledger.problem,
        "store_not_reached": status.get("store", {}).get("problem"),
    }
    for reason, detail in details.items():
        if detail:
            yield reason, _WARNINGS[reason].format(detail)
