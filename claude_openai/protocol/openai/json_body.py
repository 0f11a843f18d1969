"""The bytes of a request body -> a JSON object, or a 400 that says what is wrong with them.

Knows UTF-8 and JSON, and what of JSON nobody downstream could use: numbers that are not finite, too many values, nested
too deep. Half of a surrogate pair, which JSON can spell and UTF-8 cannot, becomes U+FFFD, as Claude Code has it: it
stands where some program has cut a text, and no client can take it out of its history. Knows no field. `null` always
means absent, so fields that are null are left out here, once.
"""

import json
import math
import re
from typing import Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.json_size import MAX_VALUES, field_in_excess
from claude_openai.protocol.limits.json_values import MAX_DEPTH, is_deeper
from claude_openai.protocol.turn.surrogates import paired

__all__ = ["load_finite", "load_object"]

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
        _replace_lone_surrogates(loaded)
    return {name: value for name, value in loaded.items() if value is not None}


def load_finite(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, or holds a number that is not finite or has too many digits.
        RecursionError: it is nested too deeply for whoever walks it.
    """
    loaded = _DECODER.decode(text)
    # What is nested deeper has more brackets.
    if text.count("[") + text.count("{") > MAX_DEPTH and is_deeper(loaded):
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


# `json.loads` makes one for each call.
_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _replace_lone_surrogates(fields: dict[str, Any]) -> None:
    stack: list[Any] = [fields]  # not recursive: the depth is the client's choice
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
