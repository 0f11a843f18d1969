"""Compiles and matches untrusted regular expressions within bounds.

The `regex` library has a time limit for matching but not for compiling: `a{1000000}` takes a second and 270 MB, because
it expands repetitions. So the size of a pattern is estimated before it is compiled.
"""

import re
from math import prod
from typing import Any, Final

import regex

from claude_openai.protocol.limits.bounded_cache import Kept
from claude_openai.protocol.limits.budget import Budget

__all__ = ["has_match", "is_pattern", "pattern_problem"]

# Compiling takes about 10 µs per character.
MAX_PATTERN_CHARS: Final = 5000
# Size of the pattern with its repetitions expanded; each part takes about a microsecond and 270 bytes.
MAX_PATTERN_PARTS: Final = 100_000

# A parenthesis before a count means that a group is repeated. With the flag `x`, spaces and comments may be between
# them, so every count may be that of a group.
_COUNT: Final = re.compile(r"(\)?)\{\s*(\d+)")
_VERBOSE: Final = re.compile(r"\(\?\w*x")
_kept: Final[Kept[tuple[Any]]] = Kept(2 * MAX_PATTERN_PARTS)


def pattern_problem(pattern: str) -> str | None:
    """Return the bound that a pattern exceeds, None if it is within bounds, whether it is valid or not."""
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"has more than {MAX_PATTERN_CHARS} characters"
    if _parts(pattern) > MAX_PATTERN_PARTS:
        return "has too many repetitions"
    return None


def is_pattern(text: str, budget: Budget) -> bool:
    """Return whether a text is a valid pattern; True for a pattern that exceeds a bound.

    Raises:
        TooMuchWork: the budget is exhausted.
    """
    return pattern_problem(text) is not None or _read(text, budget) is not None


def has_match(pattern: str, text: str, budget: Budget) -> bool | None:
    """Return whether a pattern matches in a text; None if it is invalid or takes too long.

    Raises:
        TooMuchWork: the budget is exhausted, or its patterns have taken too long in total.
    """
    if pattern_problem(pattern) is not None:
        return None
    compiled = _read(pattern, budget)
    if compiled is None:
        return None
    budget.spend(1 + len(text) // 1000)
    with budget.timing_a_pattern():
        try:
            return compiled.search(text, timeout=budget.pattern_s) is not None
        except TimeoutError:
            return None


def _read(pattern: str, budget: Budget) -> Any:
    """Return the compiled pattern, None if it is not valid in Python's dialect."""
    kept = _kept.get(pattern)
    if kept is None:
        parts = _parts(pattern)
        budget.spend(10 * len(pattern) + parts)
        try:
            kept = (regex.compile(pattern, cache_pattern=False),)
        except (regex.error, RecursionError):
            kept = (None,)
        _kept.put(pattern, kept, parts)
    return kept[0]


def _parts(pattern: str) -> int:
    """Return an upper bound of the size of the pattern with its repetitions expanded."""
    found = [(group, count.lstrip("0") or "1") for group, count in _COUNT.findall(pattern)]
    if any(len(count) > 6 for _, count in found):
        return MAX_PATTERN_PARTS + 1
    all_of_groups = _VERBOSE.search(pattern) is not None
    counts = [(bool(group) or all_of_groups, int(count)) for group, count in found]
    of_atoms = max((count for is_group, count in counts if not is_group), default=1)
    return len(pattern) * of_atoms * prod(count for is_group, count in counts if is_group)
