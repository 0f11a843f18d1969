"""A whole turn's events as one chat.completion."""

from collections.abc import Iterable
from typing import Any

from claude_openai.protocol.openai.chat.completion import Completion, ResponseHead
from claude_openai.protocol.turn.events import Event


def fold(head: ResponseHead, events: Iterable[Event], *, functions: bool = False) -> dict[str, Any]:
    """The completion; raises as `Completion.result` does."""
    completion = Completion(head, functions=functions)
    for event in events:
        completion.feed(event)
    return completion.result()
