"""Encodes the events of a turn as a `text_completion`, whole or as a stream of server-sent events.

It has no place for thinking, which is left out. A stream ends as one of `ChunkStream`: with a `finish_reason`, or with
an error object and without one.
"""

from typing import Any

from claude_openai.protocol.openai.chat.completion import Completion, ResponseHead, usage_object
from claude_openai.protocol.turn.events import Event, TextDelta, TurnCompleted, TurnFailed
from claude_openai.protocol.wire.sse import DONE, data_frame, encode_json, error_frame

__all__ = ["TextCompletion", "TextStream"]


class TextCompletion(Completion):
    """One turn as one text_completion: `feed` each event in order, then take the `result`."""

    def result(self) -> dict[str, Any]:
        """Return the text_completion object.

        Raises:
            ApiError, RuntimeError: as `Completion.result`.
        """
        completion = super().result()
        (choice,) = completion["choices"]
        text = _choice(choice["message"]["content"], choice["finish_reason"])
        return {**completion, "object": "text_completion", "choices": [text]}


class TextStream:
    """One turn as server-sent events: `feed` each event in order and send what it returns.

    Args:
        head: id, time and model of the response.
        include_usage: the client's `stream_options.include_usage`.

    Attributes:
        calls: empty, because no tools are offered.
        ended: whether the final event was fed.
    """

    def __init__(self, head: ResponseHead, include_usage: bool) -> None:
        self._fields = head.fields("text_completion")
        self._include_usage = include_usage
        self.calls: list[str] = []
        self.ended = False
        # Encoded once, and split where the text goes; from the right, as in `ChunkStream`.
        self._frame = self._chunk("").rsplit(b'""', 1)

    def feed(self, event: Event) -> bytes:
        """Return the frames of `event`, which may be empty.

        Raises:
            RuntimeError: the stream has ended; see `Completion.feed`.
        """
        if self.ended:
            raise RuntimeError(f"{type(event).__name__} after the end of the stream")
        match event:
            case TextDelta(text) if text:
                return encode_json(text).join(self._frame)
            case TurnCompleted():
                self.ended = True
                return self._chunk("", event.finish_reason) + self._usage(event) + DONE
            case TurnFailed(error):
                self.ended = True
                return error_frame(error) + DONE
        return b""

    def _chunk(self, text: str, finish_reason: str | None = None) -> bytes:
        usage = {"usage": None} if self._include_usage else {}
        return data_frame({**self._fields, "choices": [_choice(text, finish_reason)], **usage})

    def _usage(self, end: TurnCompleted) -> bytes:
        if not self._include_usage:
            return b""
        return data_frame({**self._fields, "choices": [], "usage": usage_object(end.usage, end.cost_usd)})


def _choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
