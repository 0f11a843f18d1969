"""Parses a request body as a JSON object.

Numbers that are not finite, too many values and too deep nesting are rejected. A lone surrogate, which JSON can express
and UTF-8 cannot, becomes U+FFFD, as in Claude Code: it comes from a program that has truncated a text, and a client
cannot remove it from its history. `null` means absent, so fields that are null are omitted.
"""

import json
import math
import re
from typing import Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.json_size import MAX_VALUES, field_in_excess, has_many_marks
from claude_openai.protocol.limits.json_values import MAX_DEPTH, is_deeper
from claude_openai.protocol.turn.surrogates import paired

__all__ = ["load_finite", "load_object"]

MAX_PARAM_CHARS: Final = 256
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def load_object(body: bytes) -> dict[str, Any]:
    """Return the fields of the body that are not null.

    Raises:
        BadRequest: the body is not a JSON object, or exceeds a bound.
    """
    try:
        text = body.decode("utf-8-sig")
        _check_size(body, text)
        loaded = load_finite(text)
    except UnicodeDecodeError:
        raise _invalid_json("The body is not UTF-8. Send JSON encoded as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _invalid_json(f"The body is not valid JSON: {error}.") from None
    except ValueError:
        raise _invalid_json("The body contains a number that is not finite or has too many digits.") from None
    except RecursionError:
        message = f"The body is nested more than {MAX_DEPTH} deep. Send a flatter object."
        raise _invalid_json(message) from None
    if not isinstance(loaded, dict):
        raise _invalid_json("The body must be a JSON object with a 'model'.")
    if _SURROGATE_ESCAPE.search(text):
        _replace_lone_surrogates(loaded)
    return {name: value for name, value in loaded.items() if value is not None}


def load_finite(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is not JSON, or contains a number that is not finite or has too many digits.
        RecursionError: it is nested too deeply.
    """
    loaded = _DECODER.decode(text)
    # A text that is nested deeper has more characters.
    if len(text) > MAX_DEPTH and is_deeper(loaded):
        raise RecursionError
    return loaded


def _check_size(body: bytes, text: str) -> None:
    field = field_in_excess(text) if has_many_marks(body) else None
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


# Shared, because `json.loads` with these arguments creates a decoder for each call.
_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _replace_lone_surrogates(fields: dict[str, Any]) -> None:
    stack: list[Any] = [fields]  # not recursive, because the client determines the depth
    while stack:
        holder = stack.pop()
        items = list(enumerate(holder) if isinstance(holder, list) else holder.items())
        if isinstance(holder, dict) and paired("".join(holder)) != "".join(holder):
            holder.clear()
            items = [(paired(key), value) for key, value in items]
            holder.update(items)
        for key, value in items:
            if isinstance(value, str):
                holder[key] = paired(value)
            elif isinstance(value, list | dict):
                stack.append(value)
