"""Encodes the events of a turn as the stream of Claude's Messages API.

A stream ends with `message_stop`, or with an `error` event if the turn failed. Silence is bridged by comments, as in
the other streams; `ping` events are not sent.
"""

from claude_openai.protocol.anthropic.messages.message import AnswerSoFar, MessageHead
from claude_openai.protocol.turn.events import Event
from claude_openai.protocol.wire.sse import typed_frame

__all__ = ["MessageStream"]


class MessageStream:
    """One turn as server-sent events: `feed` each event in order and send what it returns."""

    def __init__(self, head: MessageHead) -> None:
        self._answer = AnswerSoFar(head)

    @property
    def calls(self) -> list[str]:
        """Return the names of the tools called so far."""
        return self._answer.calls

    @property
    def ended(self) -> bool:
        """Return whether the final event was fed, so that there is nothing more to send."""
        return self._answer.ended

    def feed(self, event: Event) -> bytes:
        """Return the frames of `event`, which may be empty.

        Raises:
            RuntimeError: the stream has ended.
        """
        return b"".join(map(typed_frame, self._answer.feed(event)))
