"""The form in which responses and items are stored outside of memory, where they may be damaged or of another version.

A value is a line with the version, a line with a JSON object (the header), and the body: the JSON of a response and its
input, or of an item.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from zlib import crc32

from claude_openai.protocol.wire.sse import encode_json

__all__ = ["ENDED", "KeptInput", "StoredForm", "decode_item", "encode_item", "item_name", "response_name"]

VERSION: Final = b"1"
# The states of a response that will not change any more.
ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class KeptInput:
    """The items of an input as JSON, separated by commas. As objects, they could be many times as large."""

    json: bytes
    count: int

    @classmethod
    def of(cls, items: Sequence[Any]) -> "KeptInput":
        return cls(encode_json(items)[1:-1], len(items))


@dataclass(frozen=True, slots=True)
class StoredForm:
    """A response, its input, and its place in a conversation.

    Attributes:
        id: the id of the response.
        status: the status of the response.
        previous: the id of the response that it continues.
        output: its items.
        json: the response object as JSON.
        input: its own input.
        earlier: ids of the responses that it continues, the nearest first; there may be more before them.
        owner: the server that works on it, "" if it has ended.
    """

    id: str
    status: str
    previous: str | None
    output: tuple[Mapping[str, Any], ...]
    json: bytes
    input: KeptInput
    earlier: tuple[str, ...] = ()
    owner: str = ""

    @classmethod
    def of(cls, response: Mapping[str, Any], given: KeptInput) -> "StoredForm":
        return cls._of(response, encode_json(response), given)

    def encode(self) -> bytes:
        size, count = len(self.json), self.input.count
        header = {"size": size, "count": count, "earlier": self.earlier, "owner": self.owner}
        return _with_header(header, self.json + self.input.json)

    @classmethod
    def decode(cls, value: bytes, response_id: str) -> "StoredForm":
        """Read a value.

        Raises:
            ValueError: it is damaged, of another version, or another response.
        """
        header, body = _header_and_body(value)
        size, count, earlier, owner = (header.get(name) for name in ("size", "count", "earlier", "owner"))
        if not (isinstance(size, int) and isinstance(count, int) and isinstance(owner, str)):
            raise ValueError("wrong fields")
        if not (isinstance(earlier, list) and all(isinstance(each, str) for each in earlier)):
            raise ValueError("wrong ids")
        response = _object(body[:size])
        if response.get("id") != response_id or not isinstance(response.get("status"), str):
            raise ValueError("another response")
        if not isinstance(response.get("previous_response_id", 0), str | None):
            raise ValueError("wrong id of the response before it")
        if not isinstance(response.get("output"), list) or not all(map(_is_item, response["output"])):
            raise ValueError("wrong output")
        form = cls._of(response, body[:size], KeptInput(body[size:], count))
        return replace(form, earlier=tuple(earlier), owner=owner)

    def failed(self) -> "StoredForm":
        """Return the response as failed, because the server that worked on it has ended."""
        error = {"code": "server_error", "message": "The server stopped before this response was complete."}
        return StoredForm.of({**_object(self.json), "status": "failed", "error": error}, self.input)

    @classmethod
    def _of(cls, response: Mapping[str, Any], encoded: bytes, given: KeptInput) -> "StoredForm":
        output, previous = tuple(response["output"]), response["previous_response_id"]
        return cls(response["id"], response["status"], previous, output, encoded, given)


def response_name(caller: str, response_id: str) -> str:
    """Return the name of a response in a state store. It has the caller, who finds only its own responses."""
    return f"response:{caller}:{response_id}"


def item_name(caller: str, item_id: str) -> str:
    """Return the name of an item in a state store, as `response_name` does."""
    return f"item:{caller}:{item_id}"


def encode_item(item: Mapping[str, Any]) -> bytes:
    return _with_header({}, encode_json(item))


def decode_item(value: bytes, item_id: str) -> Mapping[str, Any]:
    """Read a value.

    Raises:
        ValueError: it is damaged, of another version, or another item.
    """
    item = _object(_header_and_body(value)[1])
    if not _is_item(item) or item["id"] != item_id:
        raise ValueError("another item")
    return item


def _with_header(header: Mapping[str, Any], body: bytes) -> bytes:
    return b"%s\n%s\n%s" % (VERSION, encode_json({**header, "crc": crc32(body)}), body)


def _header_and_body(value: bytes) -> tuple[dict[str, Any], bytes]:
    version, _, body = value.partition(b"\n")
    if version != VERSION:
        raise ValueError("of another version")
    head, _, body = body.partition(b"\n")
    header = json.loads(head)
    if not isinstance(header, dict) or header.get("crc") != crc32(body):
        raise ValueError("damaged")
    return header, body


def _object(text: bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str) and isinstance(item.get("type"), str)
