"""The words of a 400: one builder for each way in which a request can be wrong.

Each names the field (`param`, a JSON path like `messages[2].content`), says what is wrong and what to send instead, and
carries OpenAI's code for it. Knows no field.
"""

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.quoting import shorten

__all__ = ["missing", "unsupported_parameter", "unsupported_value", "wrong_type", "wrong_value"]


_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),  # before int, whose subclass it is
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


def wrong_type(param: str, expected: str, value: object) -> BadRequest:
    """The error for a value of the wrong JSON type; `expected` reads like "a string"."""
    actual = next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), "null")
    return BadRequest(f"Invalid type for '{param}': it is {actual}. Send {expected}.", code="invalid_type", param=param)


def wrong_value(param: str, expected: str, value: str | float | None = None) -> BadRequest:
    """The error for a value out of range; `value`, if given, is shown shortened."""
    shown = "" if value is None else f": {shorten(value)}"
    return BadRequest(f"Invalid value for '{param}'{shown}. Send {expected}.", code="invalid_value", param=param)


def missing(param: str, advice: str) -> BadRequest:
    return BadRequest(
        f"Missing required parameter: '{param}'. {advice}", code="missing_required_parameter", param=param
    )


def unsupported_value(param: str, message: str) -> BadRequest:
    """The error for one value of a field whose other values work."""
    return BadRequest(message, code="unsupported_value", param=param)


def unsupported_parameter(param: str, message: str) -> BadRequest:
    """The error for a field that has no effect here and cannot be ignored."""
    return BadRequest(message, code="unsupported_parameter", param=param)
