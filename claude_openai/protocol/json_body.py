"""The bytes of a request body -> a JSON object, or a 400 that says what is wrong with them.

Knows UTF-8 and JSON, and what of JSON nobody downstream could use: numbers that are not finite, halves of surrogate
pairs, too many values, nested too deep. Knows no field. `null` always means absent, so fields that are null are left
out here, once.
"""

import json
import math
import re
from typing import Any, Final, TypeAlias

from claude_openai.errors import BadRequest
from claude_openai.protocol.json_size import MAX_VALUES, field_in_excess
from claude_openai.protocol.values import MAX_DEPTH, is_deeper

__all__ = ["load_finite", "load_object"]

_Place: TypeAlias = tuple["_Place", str | int] | None

MAX_PARAM_CHARS: Final = 256
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def load_object(body: bytes) -> dict[str, Any]:
    """The body's fields without those that are null.

    Raises:
        BadRequest: it is not a JSON object that can be used.
    """
    try:
        text = body.decode("utf-8-sig")
        _check_size(text)
        loaded = load_finite(text)
    except UnicodeDecodeError:
        raise _invalid_json("The body is not UTF-8. Send JSON encoded as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _invalid_json(f"The body is not valid JSON: {error}.") from None
    except ValueError:
        raise _invalid_json("The body holds a number that is not finite or has too many digits.") from None
    except RecursionError:
        message = f"The body is nested more than {MAX_DEPTH} deep. Send a flatter object."
        raise _invalid_json(message) from None
    if not isinstance(loaded, dict):
        raise _invalid_json("The body must be a JSON object with a 'model'.")
    if _SURROGATE_ESCAPE.search(text):
        _refuse_lone_surrogates(loaded)
    return {name: value for name, value in loaded.items() if value is not None}


def load_finite(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, or holds a number that is not finite or has too many digits.
        RecursionError: it is nested too deeply for whoever walks it.
    """
    loaded = json.loads(text, parse_float=_finite, parse_constant=_finite)
    if is_deeper(loaded):
        raise RecursionError
    return loaded


def _check_size(text: str) -> None:
    field = field_in_excess(text)
    if field is not None:
        name = field[:MAX_PARAM_CHARS]
        message = f"The body has more than {MAX_VALUES} values, the last of them in {name!r}. Send fewer."
        raise BadRequest(message, code="invalid_value", param=name or None)


def _invalid_json(message: str) -> BadRequest:
    return BadRequest(message, code="invalid_json")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(literal)
    return number


def _refuse_lone_surrogates(fields: dict[str, Any]) -> None:
    """JSON can spell half a surrogate pair and UTF-8 cannot, so it could be neither passed on nor echoed."""
    stack: list[tuple[_Place, Any]] = [(None, fields)]  # not recursive: the depth is the client's choice
    while stack:
        place, value = stack.pop()
        if isinstance(value, list):
            stack.extend(((place, index), item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            stack.extend((place, key) for key in value)
            stack.extend(((place, key), item) for key, item in value.items())
        elif isinstance(value, str) and not _is_encodable(value):
            message = "A text holds half of a surrogate pair. Send both halves of the character, or none."
            raise BadRequest(message, code="invalid_value", param=_spelled(place))


def _spelled(place: _Place) -> str | None:
    """The place as a JSON path; None for the body itself, and for a path that is too long or cannot be encoded."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    path = "".join(reversed(steps)).removeprefix(".")
    return path if 0 < len(path) <= MAX_PARAM_CHARS and _is_encodable(path) else None


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
