"""JSON values: which are equal, and how deep they are nested."""

import json
import math
from typing import Any, Final

__all__ = ["MAX_DEPTH", "is_deeper", "spelled", "with_whole_numbers"]

# What walks a value takes a few calls for each level, of the 1000 that Python allows.
MAX_DEPTH: Final = 256


def spelled(value: Any) -> str:
    """A text that equal values have in common, and no others: 1.0 is 1, and true is neither.

    By it many values are compared in a time that grows with their size. Python's own hashes of numbers would not do:
    they are known, so numbers can be chosen that all have the same.
    """
    return json.dumps(with_whole_numbers(value), sort_keys=True, separators=(",", ":"))


def with_whole_numbers(value: Any, below: float = math.inf) -> Any:
    """The value with its floats that are whole, and smaller than `below`, as integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < below:
        return int(value)
    if isinstance(value, list):
        return [with_whole_numbers(each, below) for each in value]
    if isinstance(value, dict):
        return {name: with_whole_numbers(each, below) for name, each in value.items()}
    return value


def is_deeper(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether arrays and objects are nested deeper than this."""
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
