"""The token counts in Claude's records -> `Usage`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from claude_openai.protocol.events import Usage

__all__ = ["counted", "sum_of"]


def sum_of(one: Usage, other: Usage) -> Usage:
    return Usage(*(getattr(one, f.name) + getattr(other, f.name) for f in fields(Usage)))


def counted(counts: Mapping[str, Any], before: Usage) -> Usage:
    """What a record counts, over what is known: counts are cumulative in a message, and a record repeats only some."""
    details = counts.get("output_tokens_details") or {}

    def count(value: object, known: int) -> int:
        return value if isinstance(value, int) else known

    return Usage(
        input_tokens=count(counts.get("input_tokens"), before.input_tokens),
        cache_read_tokens=count(counts.get("cache_read_input_tokens"), before.cache_read_tokens),
        cache_write_tokens=count(counts.get("cache_creation_input_tokens"), before.cache_write_tokens),
        output_tokens=count(counts.get("output_tokens"), before.output_tokens),
        reasoning_tokens=count(details.get("thinking_tokens"), before.reasoning_tokens),
    )
