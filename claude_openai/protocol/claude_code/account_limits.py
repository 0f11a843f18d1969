"""Reads the usage windows of a subscription in `rate_limit_event`, and numbers that are only for accounting.

Claude Code sends the event before the result, when something has changed, and to subscribers only. With 93 % used, the
status of the window is `allowed_warning` and that of the event still `allowed` (2.1.332).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from claude_openai.protocol.turn.reports import AccountLimits, Window

__all__ = ["amount", "finite", "limits_of"]

# More than a process can use: 10^12 tokens, or dollars. Sums of such numbers still fit the columns of a database.
LARGEST: Final = 10**12
# The names become labels of metrics, so their number and form are bounded.
MAX_WINDOWS: Final = 16
_NAME: Final = re.compile(r"[a-z0-9_]{1,40}")
_WORD: Final = re.compile(r"[A-Za-z0-9_ -]{1,40}")


def finite(value: object) -> float | None:
    """Return a number from 0 to `LARGEST`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= LARGEST else None


def amount(value: object) -> int:
    """Return a count of tokens, 0 if it is invalid."""
    return int(finite(value) or 0)


def limits_of(info: Mapping[str, Any]) -> AccountLimits:
    """Read a `rate_limit_info`. Parts that are invalid are left out."""
    found = info.get("unifiedWindows")
    windows = {
        name: Window(finite(each.get("utilization")), finite(each.get("resetsAt")), _word(each.get("status")))
        for name, each in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(name, str) and _NAME.fullmatch(name) and isinstance(each, Mapping)
    }
    return AccountLimits(
        windows=dict(list(windows.items())[:MAX_WINDOWS]),
        overage=_word(info.get("overageStatus")),
        uses_overage=info.get("isUsingOverage") is True,
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
