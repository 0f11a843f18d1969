"""A request in the client's own terms, reduced to what determines the answer.

Headers and fields without an effect are left out, such as `user`, `metadata` and `temperature`. Secrets are masked,
arguments of calls are parsed, and the bytes of pictures and files are replaced by their SHA-256 and size.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from claude_openai.cassettes.ids import IdNames, rename_ids
from claude_openai.cassettes.masking import Mask, mask_values
from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.limits.json_values import spelled, with_whole_numbers
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.completions.fields import COMPLETIONS_FIELDS
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.wire.field_types import Use
from claude_openai.protocol.wire.json_body import load_finite

__all__ = ["ClientRequest", "read_arguments"]

# Honoured, but without an effect on what Claude says.
_WITHOUT_EFFECT: Final = {"user", "safety_identifier", "metadata", "stream_options", "store"}
_TABLES: Final = (FIELDS, COMPLETIONS_FIELDS, RESPONSES_FIELDS, MESSAGES_FIELDS)
_KEPT: Final = {
    name for table in _TABLES for name, field in table.items() if field.use is Use.HONOURED
} - _WITHOUT_EFFECT
# Where a data: URL can be, and where base64 without its prefix.
_URLS: Final = {"url", "image_url", "file_url", "file_data", "data", "blob"}
_BASE64: Final = {"file_data", "blob"}


@dataclass(frozen=True)
class ClientRequest:
    """A request as it is recorded.

    Attributes:
        path: the path of the API, like `/v1/chat/completions`.
        body: the JSON body; its ids may be any.
    """

    path: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, body: Mapping[str, Any], mask: Mask) -> "ClientRequest":
        """Reduce the body that a client sent."""
        kept = {name: value for name, value in body.items() if name in _KEPT and value is not None}
        return cls(path, {name: _reduced_field(name, value, mask) for name, value in kept.items()})

    @cached_property
    def comparable(self) -> dict[str, Any]:
        """The request with ids named in the order in which they appear in it, so that other ids compare equal.

        Fields of messages that are null or empty are left out: versions of a client differ in them, such as in
        `"refusal": null`.
        """
        body = with_whole_numbers(rename_ids(self.body, IdNames(prefixes=False)))
        return {"path": self.path, **{name: _without_empty(name, value) for name, value in body.items()}}

    @cached_property
    def key(self) -> str:
        """A text that is the same for requests that match."""
        return spelled(self.comparable)


def read_arguments(text: str) -> dict[str, Any] | None:
    """Parse the arguments of a call. Return None if they are not a JSON object."""
    try:
        loaded = load_finite(text)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _reduced_field(name: str, value: Any, mask: Mask) -> Any:
    if name in ("messages", "input"):
        return _reduced(value, name, {}, mask)
    # The keys in a schema of a tool are names of parameters, not of secrets.
    return mask_values(value, mask, by_key=name == "claude")


def _without_empty(name: str, value: Any) -> Any:
    if name not in ("messages", "input") or not isinstance(value, list):
        return value
    return [
        {key: part for key, part in each.items() if part not in (None, [])} if isinstance(each, dict) else each
        for each in value
    ]


def _reduced(value: Any, key: str, holder: Mapping[str, Any], mask: Mask) -> Any:
    if isinstance(value, str):
        if key == "arguments" and (arguments := read_arguments(value)) is not None:
            return mask_values(arguments, mask)
        return _digest(value) if _is_media(value, key, holder) else mask(value)
    if isinstance(value, list):
        return [_reduced(each, key, {}, mask) for each in value if not _is_thinking(each)]
    if isinstance(value, dict):
        if key in ("arguments", "input") and holder:
            return mask_values(value, mask)
        return {name: _reduced(each, name, value, mask) for name, each in value.items()}
    return value


def _is_thinking(value: Any) -> bool:
    """Whether a block is Claude's thinking: the answers of a cassette have it without its signature."""
    return isinstance(value, dict) and value.get("type") in ("thinking", "redacted_thinking")


def _is_media(text: str, key: str, holder: Mapping[str, Any]) -> bool:
    if key in _URLS and text[:5].lower() == "data:" and "," in text:
        return True
    if key == "data":
        kind = holder.get("type")
        return kind in ("base64", "image") or (kind != "text" and "media_type" in holder)
    return key in _BASE64


def _digest(text: str) -> str:
    """Return hash and size of the bytes of a file; of its text if that is not base64."""
    head, comma, rest = text.partition(",")
    data = rest if comma and head[:5].lower() == "data:" else text
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        raw = data.encode(errors="surrogatepass")
    return f"sha256:{hashlib.sha256(raw).hexdigest()} ({len(raw)} bytes)"
