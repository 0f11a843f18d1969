"""The form of one value of a request: a boolean, a string, a number within its bounds.

Each check is called with the field's name and a value that is not null, and raises BadRequest if the value is not of
its form. Knows no field.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from claude_openai.protocol.refusals import wrong_type, wrong_value

__all__ = ["Check", "array", "boolean", "integer", "json_object", "number", "one_of", "string"]

Check: TypeAlias = Callable[[str, Any], None]


def boolean(param: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise wrong_type(param, "true or false", value)


def json_object(param: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)


def array(param: str, value: Any) -> None:
    if not isinstance(value, list):
        raise wrong_type(param, "an array", value)


def string(max_chars: int | None = None) -> Check:
    def check(param: str, value: Any) -> None:
        if not isinstance(value, str):
            raise wrong_type(param, "a string", value)
        if max_chars is not None and len(value) > max_chars:
            raise wrong_value(param, f"at most {max_chars} characters")

    return check


def one_of(*allowed: str) -> Check:
    def check(param: str, value: Any) -> None:
        string()(param, value)
        if value not in allowed:
            raise wrong_value(param, "one of " + ", ".join(map(repr, allowed)), value)

    return check


def number(low: float, high: float = math.inf) -> Check:
    def check(param: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(param, "a number", value)
        if not low <= value <= high:
            raise wrong_value(param, f"a number from {low}" + ("" if high == math.inf else f" to {high}"), value)

    return check


def integer(low: int, high: float = math.inf) -> Check:
    def check(param: str, value: Any) -> None:
        # JSON has one kind of number: 1.0 is an integer to JSON Schema, and some languages write it so.
        if not isinstance(value, int) and not (isinstance(value, float) and value.is_integer()):
            raise wrong_type(param, "an integer", value)
        number(low, high)(param, value)

    return check
