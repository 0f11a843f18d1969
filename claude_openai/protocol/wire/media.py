"""Converts pictures and files of a request to blocks for Claude.

The server fetches nothing: `data:` URLs are decoded, and https URLs are passed on to Claude. A picture that is larger
than Claude accepts is shrunk, wherever it is in the request, so that the history stays equal between requests.
`image_files` checks that a picture is complete.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.blocks import MediaBlock
from claude_openai.protocol.wire.bad_request import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.image_files import DamagedPicture, picture_kind, picture_size

__all__ = ["anthropic_media", "file_part", "image_part"]

# A picture as sent by the client; a document may be as large as the whole request.
MAX_IMAGE_BYTES: Final = 20 * 1024 * 1024
# A picture as sent to Claude: of a larger one Claude Code makes another, but only in a prompt.
MAX_SENT_IMAGE_BYTES: Final = 512_000
MAX_SIDE: Final = 2000
MAX_FILE_BYTES: Final = 32 * 1024 * 1024

_DATA_URL: Final = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)
# With a host name, and without the characters that must be percent-encoded in a URL.
_HTTPS: Final = re.compile(r"""https://[^\s/?#<>"\x00-\x1f\x7f][^\s<>"\x00-\x1f\x7f]*""", re.IGNORECASE)
_SPACES: Final = b" \t\n\r\v\f"
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
# Characters of base64 that may be percent-encoded in a URL; white space is dropped.
_ESCAPED: Final = (("%2b", "+"), ("%2f", "/"), ("%3d", "="), ("%0a", ""), ("%0d", ""), ("%20", ""))
# In data that is not base64: decoding an escape takes more than a microsecond.
MAX_ESCAPES: Final = 100_000
_IMAGE_ADVICE: Final = "a JPEG, PNG, GIF or WebP picture"


def image_part(part: Mapping[str, Any], where: str) -> MediaBlock:
    """Read the picture of an `image_url` or `input_image` part.

    Args:
        part: the part; its `image_url` is a URL, or an object with a `url`.
        where: the path of the part in the request.

    Raises:
        BadRequest: the part is malformed, too large or unsupported; `param` names the field.
    """
    value, place = part.get("image_url"), f"{where}.image_url"
    if isinstance(value, dict):
        value, place = value.get("url"), f"{place}.url"
    if value is None:
        if part.get("file_id"):
            raise unsupported_value(f"{where}.file_id", "Stored files are not supported. Send the picture itself.")
        raise missing(place, "Send a data: URL with the picture, or an https: URL.")
    if not isinstance(value, str):
        raise wrong_type(place, "a string", value)
    if not _is_data_url(value):
        return MediaBlock(
            "image", "", _fetched_by_claude(value, place, "a data: URL with the picture, or an https: URL")
        )
    return _image(_decoded(value, place, MAX_IMAGE_BYTES)[1], place)


def file_part(part: Mapping[str, Any], where: str) -> MediaBlock:
    """Read the document of a `file` or `input_file` part: a PDF, a picture or a text.

    Raises:
        BadRequest: the part is malformed, too large or unsupported; `param` names the field.
    """
    inner = part.get("file") if part.get("type") == "file" else part
    place = f"{where}.file" if part.get("type") == "file" else where
    if not isinstance(inner, dict):
        raise wrong_type(place, "an object with 'file_data'", inner)
    data, name = inner.get("file_data"), inner.get("filename") or ""
    if data is None:
        if inner.get("file_id"):
            raise unsupported_value(f"{place}.file_id", "Stored files are not supported. Send 'file_data'.")
        if inner.get("file_url") is not None:
            url = _fetched_by_claude(inner["file_url"], f"{place}.file_url", "an https: URL, or 'file_data'")
            return MediaBlock("document", "", url)
        raise missing(f"{place}.file_data", "Send a data: URL with the file.")
    for key, value in (("file_data", data), ("filename", name)):
        if not isinstance(value, str):
            raise wrong_type(f"{place}.{key}", "a string", value)
    # Some clients send base64 without the prefix of a data: URL.
    url = data if _is_data_url(data) else f"data:;base64,{data}"
    kind, raw = _decoded(url, f"{place}.file_data", MAX_FILE_BYTES)
    return _document(kind, raw, name, f"{place}.file_data")


def anthropic_media(part: Mapping[str, Any], where: str) -> MediaBlock:
    """Read an `image` or `document` block in the format of Claude's API, which some clients send.

    Raises:
        BadRequest: the block is malformed, too large or unsupported; `param` names the field.
    """
    source, place = part.get("source"), f"{where}.source"
    if not isinstance(source, dict):
        raise wrong_type(place, "an object", source)
    key = "url" if source.get("type") == "url" else "data"
    data = source.get(key)
    if not isinstance(data, str):
        raise wrong_type(f"{place}.{key}", "a string", data)
    if key == "url":
        url = _fetched_by_claude(data, f"{place}.url", "an https: URL, or the data in base64")
        return MediaBlock("image" if part["type"] == "image" else "document", "", url)
    kind = str(source.get("media_type") or "")
    if source.get("type") == "text":
        return MediaBlock("document", "text/plain", data, str(part.get("title") or ""))
    url = data if _is_data_url(data) else f"data:;base64,{data}"
    raw = _decoded(url, f"{place}.data", MAX_IMAGE_BYTES if part["type"] == "image" else MAX_FILE_BYTES)[1]
    if part["type"] == "image":
        return _image(raw, f"{place}.data")
    return _document(kind, raw, str(part.get("title") or ""), f"{place}.data")


def _fetched_by_claude(url: Any, place: str, expected: str) -> str:
    if not isinstance(url, str):
        raise wrong_type(place, "a string", url)
    if not _HTTPS.fullmatch(url):
        raise wrong_value(place, expected, url[:40])
    return url


def _image(raw: bytes, place: str) -> MediaBlock:
    # The type is detected from the bytes: clients declare wrong types, which Claude's API rejects.
    kind = picture_kind(raw)
    if not kind:
        raise wrong_value(place, _IMAGE_ADVICE)
    if len(raw) > MAX_IMAGE_BYTES:
        raise _too_large(place, len(raw), MAX_IMAGE_BYTES)
    try:
        size = picture_size(kind, raw)
    except DamagedPicture as error:
        raise wrong_value(place, f"{_IMAGE_ADVICE} that is complete; in this {kind} file, {error}") from None
    if len(raw) > MAX_SENT_IMAGE_BYTES or max(size) > MAX_SIDE:
        kind, raw = _shrunk(raw, place)
    return MediaBlock("image", kind, base64.b64encode(raw).decode())


def _shrunk(raw: bytes, place: str) -> tuple[str, bytes]:
    from claude_openai.protocol.wire.shrinking import CannotBeShrunk, shrunk

    try:
        return shrunk(raw, max_side=MAX_SIDE, max_bytes=MAX_SENT_IMAGE_BYTES)
    except CannotBeShrunk as error:
        raise wrong_value(place, f"{_IMAGE_ADVICE} that can be made smaller: {shorten(str(error))}") from None


def _document(kind: str, raw: bytes, name: str, place: str) -> MediaBlock:
    if len(raw) > MAX_FILE_BYTES:
        raise _too_large(place, len(raw), MAX_FILE_BYTES)
    if raw.startswith(b"%PDF-"):
        return MediaBlock("document", "application/pdf", base64.b64encode(raw).decode(), name)
    if picture_kind(raw):
        return _image(raw, place)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        shown = f" ({kind})" if kind else ""
        raise wrong_value(place, f"a PDF, a picture or a text in UTF-8; this is none of them{shown}") from None
    if not text.strip():
        raise wrong_value(place, "a file that is not empty")
    return MediaBlock("document", "text/plain", text, name)


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _decoded(url: str, place: str, max_bytes: int) -> tuple[str, bytes]:
    """Return the declared type and the bytes of a data: URL."""
    head = _DATA_URL.match(url)
    if head is None:
        raise wrong_value(place, "a data: URL with its data, like data:image/png;base64,...", url[:40])
    parameters = [parameter.strip().lower() for parameter in head["parameters"].split(";")]
    decode = _from_base64 if "base64" in parameters else _from_escapes
    raw = decode(url[head.end() :], place, max_bytes)
    if not raw:
        raise wrong_value(place, "data that is not empty")
    return head["type"].strip().lower(), raw


def _from_base64(text: str, place: str, max_bytes: int) -> bytes:
    """Decode base64, as leniently as browsers: padding may be missing, and characters may be percent-encoded.

    The URL-safe alphabet is accepted too.
    """
    if "%" in text:
        for escape, character in _ESCAPED:
            text = text.replace(escape, character).replace(escape.upper(), character)
    # Four characters encode three bytes, so data that is far too large is rejected without decoding it.
    if len(text) * 3 // 4 > max_bytes + 4:
        raise _too_large(place, len(text) * 3 // 4, max_bytes)
    try:
        data = text.encode("ascii").translate(_FROM_URL_SAFE, _SPACES).rstrip(b"=")
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong_value(place, f"valid base64 ({shorten(str(error))})") from None


def _from_escapes(text: str, place: str, max_bytes: int) -> bytes:
    if len(text) > 3 * max_bytes or text.count("%") > MAX_ESCAPES:
        raise wrong_value(place, "a file of this size in base64, like data:image/png;base64,...")
    return unquote_to_bytes(text)


def _too_large(place: str, size: int, limit: int) -> BadRequest:
    message = f"'{place}' has about {size} bytes; Claude takes {limit} at most. Send a smaller one."
    return BadRequest(message, code="invalid_value", param=place)
