"""Claude's official Python package as a judge: what a server sends must be one of its types, strictly."""

from typing import Any, Final

from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

__all__ = ["strict_anthropic_event", "strict_anthropic_message"]

_EVENTS: Final[TypeAdapter[Any]] = TypeAdapter(RawMessageStreamEvent)


def strict_anthropic_message(message: dict[str, Any]) -> Message:
    """A message as the package's type; nothing is converted, and nothing that it requires may be missing."""
    return Message.model_validate(message, strict=True)


def strict_anthropic_event(event: dict[str, Any]) -> Any:
    """An event of a stream as the package's type."""
    return _EVENTS.validate_python(event, strict=True)
