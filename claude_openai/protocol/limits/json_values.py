"""Equality and depth of JSON values."""

import json
import math
from typing import Any, Final

__all__ = ["MAX_DEPTH", "is_deeper", "spelled", "with_whole_numbers"]

# Recursive functions use a few calls for each level; Python allows 1000.
MAX_DEPTH: Final = 256


def spelled(value: Any) -> str:
    """Return a text that is the same for equal values only: 1.0 equals 1, and true equals neither.

    It allows comparing many values in linear time. Python's hashes of numbers are predictable, so a client could choose
    numbers that collide.
    """
    return json.dumps(with_whole_numbers(value), sort_keys=True, separators=(",", ":"))


def with_whole_numbers(value: Any, below: float = math.inf) -> Any:
    """Return the value with whole floats smaller than `below` converted to integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < below:
        return int(value)
    if isinstance(value, list):
        return [with_whole_numbers(each, below) for each in value]
    if isinstance(value, dict):
        return {name: with_whole_numbers(each, below) for name, each in value.items()}
    return value


def is_deeper(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Return whether arrays and objects are nested deeper than `depth` levels."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
