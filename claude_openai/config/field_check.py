"""Checks the value of one field of `Config`: its type, by the annotation, and its range or choices, by tables."""

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import Field
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args, get_origin

from claude_openai.errors import ConfigError
from claude_openai.protocol.turn.claude_options import PERMISSION_MODES

__all__ = ["BACKENDS", "CONFINE", "LEAST", "LOG_FORMATS", "LOG_LEVELS", "MOST", "check_field"]

BACKENDS: Final = ("sdk", "cli")
CONFINE: Final = ("auto", "require", "off")
LOG_FORMATS: Final = ("auto", "text", "json")
LOG_LEVELS: Final = ("trace", "debug", "info", "warning", "error")

# The valid texts, for a field that is one of them or a tuple of them.
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "backend": BACKENDS,
    "confine": CONFINE,
    "log_format": LOG_FORMATS,
    "log_level": LOG_LEVELS,
    "allowed_permission_modes": PERMISSION_MODES,
}

# The smallest valid value of each number.
LEAST: Final[Mapping[str, int]] = {
    "port": 0,
    "max_concurrency": 1,
    "max_queue_size": 0,
    "max_background": 0,
    "responses_kept_hours": 1,
    "process_timeout_ms": 1,
    "turn_timeout_ms": 0,
    "drain_timeout_ms": 0,
    "lame_duck_ms": 0,
    "max_idle_sessions": 0,
    "session_ttl_ms": 1,
    "tool_result_ttl_ms": 1,
    "spares": 0,
    "max_request_bytes": 1,
    "hold_status_ms": 0,
    "comment_interval_ms": 1,
    "stall_timeout_ms": 1,
    "idle_connection_ms": 1,
    "output_max_age_ms": 0,
    "output_max_bytes": 0,
}
MOST: Final[Mapping[str, int]] = {"port": 65535}
# The largest valid value of each fraction; the others are finite. All are above 0.
MOST_FRACTION: Final[Mapping[str, float]] = {"stop_at_utilization": 1.0}
# Of the other numbers: a larger one could not be converted to seconds.
_MOST_OF_ALL: Final = 2**63 - 1

_SHORT_REPR: Final = reprlib.Repr()
_SHORT_REPR.maxstring = _SHORT_REPR.maxother = 80


def check_field(field: "Field[Any]", value: object) -> None:
    """Check one value.

    Args:
        field: the field of `Config`; a field without `repr` is secret, and its value not part of the message.
        value: any object.

    Raises:
        ConfigError: the value is invalid; the message has the field, the value and what is expected.
    """
    expected = _expected(field, value)
    if expected:
        raise ConfigError(f"invalid {field.name}: {_shown(field, value)}; expected {expected}")


def _expected(field: "Field[Any]", value: object) -> str:
    """Return what is expected instead of the value, "" if it is valid."""
    if not _has_type(value, field.type):
        return _type_name(field.type)
    if any("\0" in text for text in _texts(value)):
        return f"{_type_name(field.type)} without NUL characters"
    if field.name in CHOICES and not set(_texts(value)) <= set(CHOICES[field.name]):
        several = "a tuple of some of" if isinstance(value, tuple) else "one of"
        return f"{several} {', '.join(CHOICES[field.name])}"
    if isinstance(value, int) and field.name in LEAST:
        return _expected_range(value, LEAST[field.name], MOST.get(field.name))
    if field.type == float | None and value is not None:
        return _expected_fraction(value, MOST_FRACTION.get(field.name, math.inf))
    return ""


def _expected_range(value: int, least: int, most: int | None) -> str:
    if value < least:
        return f"at least {least}"
    return f"at most {most or _MOST_OF_ALL}" if value > (most or _MOST_OF_ALL) else ""


def _expected_fraction(value: Any, most: float) -> str:
    if 0 < value <= most and value < math.inf:
        return ""
    return "more than 0" if most == math.inf else f"more than 0 and at most {most:g}"


def _has_type(value: object, annotation: Any) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is UnionType:
        return any(_has_type(value, each) for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_has_type(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _has_type(key, arguments[0]) and _has_type(item, arguments[1]) for key, item in value.items()
        )
    # A bool is an int for Python, and an int is a float for type checkers.
    is_number = annotation in (int, float)
    allowed = (int, float) if annotation is float else annotation
    return isinstance(value, allowed) and not (is_number and isinstance(value, bool))


def _type_name(annotation: Any) -> str:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return name.replace("collections.abc.", "").replace("pathlib.", "")


def _shown(field: "Field[Any]", value: object) -> str:
    try:
        if field.repr:
            return _SHORT_REPR.repr(value)
    except ValueError:  # an int of more than 4300 digits, which reprlib passes on
        pass
    return f"a value of type {type(value).__name__}"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        yield from _texts((*value.keys(), *value.values()))
