"""The table of `usage --cache`: for each conversation, what its prompts had from Claude's cache, and what broke it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from claude_openai.commands.state.run_source import visible
from claude_openai.runs.capture.records import RunRecord

__all__ = ["cache_lines", "cache_report"]

HEAD: Final = ("CONVERSATION", "MODEL", "RUNS", "PROMPT", "FROM CACHE", "LOST", "BECAUSE OF")


@dataclass(slots=True)
class _Sums:
    conversation: str
    model: str
    runs: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    lost_tokens: int = 0
    causes: Counter[str] = field(default_factory=Counter)


def cache_report(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return the sums of each conversation, the one with the newest run first.

    Args:
        records: runs, newest first. Those without a report do not count.
    """
    found: dict[str, _Sums] = {}
    for record in records:
        cache, usage = record.cache, record.usage
        if cache is None or usage is None:
            continue
        name = str(cache.get("conversation"))
        sums = found.setdefault(name, _Sums(name, record.model))
        sums.runs += 1
        sums.prompt_tokens += _number(usage.get("prompt_tokens"))
        sums.cached_tokens += _number((usage.get("prompt_tokens_details") or {}).get("cached_tokens"))
        sums.lost_tokens += _number(cache.get("lost_tokens"))
        sums.causes.update(map(str, cache.get("causes") or ()))
    return [
        {
            "conversation": each.conversation,
            "model": each.model,
            "runs": each.runs,
            "prompt_tokens": each.prompt_tokens,
            "cached_tokens": each.cached_tokens,
            "lost_tokens": each.lost_tokens,
            "causes": dict(each.causes),
        }
        for each in found.values()
    ]


def cache_lines(report: Sequence[dict[str, Any]]) -> Iterator[str]:
    rows = [HEAD, *map(_row, report)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    share = each["cached_tokens"] / each["prompt_tokens"] if each["prompt_tokens"] else 0.0
    causes = ", ".join(f"{cause} ({count})" for cause, count in each["causes"].items())
    cells = (
        each["conversation"],
        each["model"],
        str(each["runs"]),
        f"{each['prompt_tokens']:,}",
        f"{share:.0%}",
        f"{each['lost_tokens']:,}" if each["lost_tokens"] else "",
        causes,
    )
    return tuple(" ".join(visible(cell).split()) for cell in cells)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
