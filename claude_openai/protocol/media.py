"""Pictures and files of a request -> the blocks Claude is given.

Knows `data:` URLs, the kinds of pictures Claude takes and their size. Whose part it was is `content`'s business.
Nothing is fetched here or by the server: an https URL goes to Claude as it is.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.blocks import MediaBlock
from claude_openai.protocol.refusals import missing, shorten, unsupported_value, wrong_type, wrong_value

__all__ = ["anthropic_media", "file_part", "image_part"]

# Claude's own bound for one picture, in bytes; a document may be as large as its whole request.
MAX_IMAGE_BYTES: Final = 5 * 1024 * 1024
MAX_FILE_BYTES: Final = 32 * 1024 * 1024

_DATA_URL: Final = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)
# Claude refuses a picture whose declared type is not the one that it is, and clients do mistake them.
_IMAGES: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
_IMAGE_ADVICE: Final = "a JPEG, PNG, GIF or WebP picture"


def image_part(part: Mapping[str, Any], where: str) -> MediaBlock:
    """The picture of an `image_url` or `input_image` part.

    Args:
        part: `image_url` is a URL or an object with one.
        where: its place in the request.

    Raises:
        BadRequest: naming what is malformed, too large, or cannot be carried.
    """
    value, place = part.get("image_url"), f"{where}.image_url"
    if isinstance(value, dict):
        value, place = value.get("url"), f"{place}.url"
    if value is None:
        if part.get("file_id"):
            raise unsupported_value(f"{where}.file_id", "There are no stored files here: send the picture itself.")
        raise missing(place, "Send a data: URL with the picture, or an https: URL.")
    if not isinstance(value, str):
        raise wrong_type(place, "a string", value)
    if value[:8].lower() == "https://":
        return MediaBlock("image", "", value)
    if value[:5].lower() != "data:":
        raise wrong_value(place, "a data: URL with the picture, or an https: URL", value[:40])
    return _image(_decoded(value, place, MAX_IMAGE_BYTES)[1], place)


def file_part(part: Mapping[str, Any], where: str) -> MediaBlock:
    """The document of a `file` or `input_file` part: a PDF or a text.

    Raises:
        BadRequest: naming what is malformed, too large, or cannot be carried.
    """
    inner = part.get("file") if part.get("type") == "file" else part
    place = f"{where}.file" if part.get("type") == "file" else where
    if not isinstance(inner, dict):
        raise wrong_type(place, "an object with 'file_data'", inner)
    data, name = inner.get("file_data"), inner.get("filename") or ""
    if data is None:
        if inner.get("file_id"):
            raise unsupported_value(f"{place}.file_id", "There are no stored files here: send 'file_data'.")
        if isinstance(inner.get("file_url"), str) and inner["file_url"][:8].lower() == "https://":
            return MediaBlock("document", "", inner["file_url"])
        raise missing(f"{place}.file_data", "Send a data: URL with the file.")
    for key, value in (("file_data", data), ("filename", name)):
        if not isinstance(value, str):
            raise wrong_type(f"{place}.{key}", "a string", value)
    # Some clients send the bare base64.
    url = data if data[:5].lower() == "data:" else f"data:;base64,{data}"
    kind, raw = _decoded(url, f"{place}.file_data", MAX_FILE_BYTES)
    return _document(kind, raw, name, f"{place}.file_data")


def anthropic_media(part: Mapping[str, Any], where: str) -> MediaBlock:
    """An `image` or `document` block as Claude's own API writes it, which some clients send to this one.

    Raises:
        BadRequest: naming what is malformed, too large, or cannot be carried.
    """
    source, place = part.get("source"), f"{where}.source"
    if not isinstance(source, dict):
        raise wrong_type(place, "an object", source)
    key = "url" if source.get("type") == "url" else "data"
    data = source.get(key)
    if not isinstance(data, str):
        raise wrong_type(f"{place}.{key}", "a string", data)
    if key == "url":
        return image_part({"image_url": data}, where) if part["type"] == "image" else MediaBlock("document", "", data)
    kind = str(source.get("media_type") or "")
    if source.get("type") == "text":
        return MediaBlock("document", "text/plain", data, str(part.get("title") or ""))
    raw = _from_base64(data, f"{place}.data")
    if part["type"] == "image":
        return _image(raw, f"{place}.data")
    return _document(kind, raw, str(part.get("title") or ""), f"{place}.data")


def _image(raw: bytes, place: str) -> MediaBlock:
    kind = next((kind for pattern, kind in _IMAGES if pattern.match(raw)), None)
    if kind is None:
        raise wrong_value(place, _IMAGE_ADVICE)
    if len(raw) > MAX_IMAGE_BYTES:
        raise _too_large(place, len(raw), MAX_IMAGE_BYTES)
    return MediaBlock("image", kind, base64.b64encode(raw).decode())


def _document(kind: str, raw: bytes, name: str, place: str) -> MediaBlock:
    if len(raw) > MAX_FILE_BYTES:
        raise _too_large(place, len(raw), MAX_FILE_BYTES)
    if raw.startswith(b"%PDF-"):
        return MediaBlock("document", "application/pdf", base64.b64encode(raw).decode(), name)
    if any(pattern.match(raw) for pattern, _ in _IMAGES):
        return _image(raw, place)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        shown = f" ({kind})" if kind else ""
        raise wrong_value(place, f"a PDF, a picture or a text in UTF-8; this is none of them{shown}") from None
    if not text.strip():
        raise wrong_value(place, "a file that is not empty")
    return MediaBlock("document", "text/plain", text, name)


def _decoded(url: str, place: str, max_bytes: int) -> tuple[str, bytes]:
    """The declared type and the bytes of a data: URL."""
    head = _DATA_URL.match(url)
    if head is None or ";base64" not in head["parameters"].lower():
        raise wrong_value(place, "a data: URL in base64, like data:image/png;base64,...", url[:40])
    # Four characters for three bytes: so what is far too large is never decoded.
    if (len(url) - head.end()) * 3 // 4 > max_bytes + 4:
        raise _too_large(place, (len(url) - head.end()) * 3 // 4, max_bytes)
    return head["type"].lower(), _from_base64(url[head.end() :], place)


def _from_base64(text: str, place: str) -> bytes:
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong_value(place, f"valid base64 ({shorten(str(error))})") from None
    if not raw:
        raise wrong_value(place, "something: the data is empty")
    return raw


def _too_large(place: str, size: int, limit: int) -> BadRequest:
    message = f"'{place}' has about {size} bytes; Claude takes {limit} at most. Send a smaller one."
    return BadRequest(message, code="invalid_value", param=place)
