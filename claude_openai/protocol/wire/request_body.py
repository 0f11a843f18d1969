"""Checks that are common to the bodies of all APIs: required fields, the table of fields, numbers."""

from collections.abc import Mapping
from typing import Any

from claude_openai.errors import BadRequest
from claude_openai.protocol.turn.output_format import OutputFormat
from claude_openai.protocol.turn.tools import ToolChoice
from claude_openai.protocol.wire.bad_request import missing
from claude_openai.protocol.wire.field_types import Field

__all__ = ["checked_fields", "form_beside", "whole_number"]


def checked_fields(fields: Mapping[str, Any], table: Mapping[str, Field], needed: str, advice: str) -> dict[str, Any]:
    """Return the fields of a body that are set, each checked by its entry in the table.

    Args:
        fields: the fields that are not null.
        table: the known fields.
        needed: the required field, in addition to the model.
        advice: the hint of the error if it is missing.

    Raises:
        BadRequest: with the invalid field in `param`.
    """
    if fields.get("model") in (None, ""):
        raise BadRequest("you must provide a model parameter. GET /v1/models lists the names.", param="model")
    if needed not in fields:
        raise missing(needed, advice)
    known = {name: value for name, value in fields.items() if name not in table or value not in table[name].unset}
    for name, field in table.items():
        if name in known:
            field.check(name, known[name])
    return known


def form_beside(choice: ToolChoice, output: OutputFormat | None) -> OutputFormat | None:
    """Return the format of the answer, None if a call is required: Claude could return the output and omit the call."""
    return None if choice.mode == "required" else output


def whole_number(value: float | None) -> int | None:
    return None if value is None else int(value)  # JSON may write it as 100.0
