"""Builders of the 400 errors for invalid fields.

Each error has the field (`param`, a JSON path like `messages[2].content`), the problem, the expected value, and
OpenAI's code.
"""

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.quoting import shorten

__all__ = ["missing", "unsupported_parameter", "unsupported_value", "wrong_type", "wrong_value"]


_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),  # before int, because bool is a subclass of int
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


def wrong_type(param: str, expected: str, value: object) -> BadRequest:
    """Return the error for a value of the wrong JSON type. `expected` is a phrase like "a string"."""
    actual = next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), "null")
    return BadRequest(f"Invalid type for '{param}': it is {actual}. Send {expected}.", code="invalid_type", param=param)


def wrong_value(param: str, expected: str, value: str | float | None = None) -> BadRequest:
    """Return the error for an invalid value. The message quotes `value`, shortened, unless it is None."""
    shown = "" if value is None else f": {shorten(value)}"
    return BadRequest(f"Invalid value for '{param}'{shown}. Send {expected}.", code="invalid_value", param=param)


def missing(param: str, advice: str) -> BadRequest:
    return BadRequest(
        f"Missing required parameter: '{param}'. {advice}", code="missing_required_parameter", param=param
    )


def unsupported_value(param: str, message: str) -> BadRequest:
    """Return the error for an unsupported value of a supported field."""
    return BadRequest(message, code="unsupported_value", param=param)


def unsupported_parameter(param: str, message: str) -> BadRequest:
    """Return the error for a field that is not supported and must not be ignored."""
    return BadRequest(message, code="unsupported_parameter", param=param)
