"""What is true to Open Responses, the specification that other servers of the Responses API follow: its own models.

They demand more keys than OpenAI's document does, and so do the clients that were written against them.
"""

from enum import StrEnum
from functools import cache
from typing import Any

import openresponses_types.types as models
from pydantic import BaseModel

__all__ = ["validate_open_event", "validate_open_response"]


def validate_open_response(instance: dict[str, Any]) -> None:
    """Assert that it is a whole response.

    Raises:
        ValidationError: it is not.
    """
    models.ResponseResource.model_validate(instance)


def validate_open_event(instance: dict[str, Any]) -> None:
    """Assert that it is an event of a stream.

    Raises:
        ValidationError: it is not.
        KeyError: there is no such event.
    """
    _events()[instance["type"]].model_validate(instance)


@cache
def _events() -> dict[str, type[BaseModel]]:
    found = [model for name, model in vars(models).items() if name.endswith("StreamingEvent")]
    # Their `type` is an enumeration of one.
    return {str(value): model for model in found for value in _enumeration(model)}


def _enumeration(model: type[BaseModel]) -> type[StrEnum]:
    annotation = model.model_fields["type"].annotation
    assert isinstance(annotation, type)
    assert issubclass(annotation, StrEnum)
    return annotation
