"""A reader of server-sent events for tests, written from the WHATWG rules and sharing nothing with the code under test.

It takes bytes in pieces of any size, as a socket gives them, and is strict where a lenient client would hide a mistake
of ours: a stream that ends inside an event is an error. It knows framing and JSON, not chat completions.
"""

import codecs
import json
from typing import Any, TypeAlias

__all__ = ["Message", "SseReader", "parse_sse", "parse_typed_sse"]

Message: TypeAlias = str | dict[str, Any]


class SseReader:
    """Bytes in, the data of each complete event out.

    Attributes:
        comments: the comment lines seen so far, without their colon.
        fields: the names of the fields seen so far other than `data`.
        types: the values of the `event` fields.
    """

    def __init__(self) -> None:
        self.comments: list[str] = []
        self.fields: list[str] = []
        self.types: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._line: list[str] = []
        self._data: list[str] | None = None
        self._after_cr = False

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that `piece` completes; CR, LF and CRLF each end a line."""
        events: list[str] = []
        for character in self._decoder.decode(piece):
            if character in "\r\n":
                if not (character == "\n" and self._after_cr):
                    self._end_line(events)
            else:
                self._line.append(character)
            self._after_cr = character == "\r"
        return events

    def close(self) -> None:
        """The stream is over; raises ValueError if that was inside an event."""
        self._decoder.decode(b"", final=True)
        if self._line or self._data is not None:
            raise ValueError("the stream ends inside an event")

    def _end_line(self, events: list[str]) -> None:
        line = "".join(self._line)
        self._line.clear()
        if not line:
            if self._data is not None:
                events.append("\n".join(self._data))
            self._data = None
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "data":
            self._data = [*(self._data or []), value]
        else:
            self.fields.append(name)
            self.types += [value] if name == "event" else []


def parse_sse(wire: bytes) -> list[Message]:
    """Every event of a whole chat stream: its JSON object, or its text where that is `[DONE]`.

    Raises:
        ValueError: the stream ends inside an event, has a field other than `data`, or data that is no JSON object.
    """
    reader = SseReader()
    texts = reader.feed(wire)
    reader.close()
    if reader.fields:
        raise ValueError(f"a chat stream has only data fields, not {reader.fields}")
    return [text if text == "[DONE]" else _json_object(text) for text in texts]


def parse_typed_sse(wire: bytes) -> list[dict[str, Any]]:
    """Every event of a whole stream of the Responses API.

    Raises:
        ValueError: the stream ends inside an event, has data that is no JSON object, or an event whose `event` field
            is not its `type`.
    """
    reader = SseReader()
    events = [_json_object(text) for text in reader.feed(wire)]
    reader.close()
    types = [event["type"] for event in events]
    if reader.types != types or reader.fields != ["event"] * len(types):
        raise ValueError(f"the types of the events are not those of their fields: {reader.types} {types}")
    return events


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object: {text}")
    return value
