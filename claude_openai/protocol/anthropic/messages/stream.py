"""Encodes the events of a turn as the stream of Claude's Messages API.

A stream ends with `message_stop`, or with an `error` event if the turn failed. Silence is bridged by comments, as in
the other streams; `ping` events are not sent.
"""

from claude_openai.protocol.anthropic.messages.message import AnswerSoFar, MessageHead
from claude_openai.protocol.turn.events import Event, TextDelta
from claude_openai.protocol.wire.sse import encode_json, typed_frame

__all__ = ["MessageStream"]


class MessageStream:
    """One turn as server-sent events: `feed` each event in order and send what it returns."""

    def __init__(self, head: MessageHead) -> None:
        self._answer = AnswerSoFar(head)
        self._text_frame: tuple[int | None, list[bytes]] = (None, [])

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
        if isinstance(event, TextDelta) and event.text and (index := self._answer.text_block) is not None:
            return encode_json(event.text).join(self._frame(index))
        return b"".join(map(typed_frame, self._answer.feed(event)))

    def _frame(self, index: int) -> list[bytes]:
        """Return the frame of a text of this block, encoded once and split where the text goes, as in `ChunkStream`."""
        if self._text_frame[0] != index:
            delta = {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": ""}}
            self._text_frame = (index, typed_frame(delta).rsplit(b'""', 1))
        return self._text_frame[1]
