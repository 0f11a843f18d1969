"""Image files: detects their type, and whether they are complete.

Claude Code replaces an image that it cannot decode with a text, and Claude answers without having seen the image. This
module walks the structure of a file from its header to its end without decoding the pixels, which detects truncated
files and files that only begin like an image. It supports the four types that Claude accepts.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

__all__ = ["DamagedPicture", "picture_kind", "picture_size"]

# The largest image that Claude accepts has 8,000 pixels squared; decoded, it takes 200 MB.
MAX_PIXELS: Final = 8000**2
# Ordinary files of 5 MB have a tenth of these parts. The walk stops there, whether or not the file has more.
MAX_STEPS: Final = 200_000

_KINDS: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
_Size: TypeAlias = tuple[int, int]


class DamagedPicture(Exception):
    """The image is invalid; the text is a clause that describes the problem."""


_CUT_SHORT: Final = "it is truncated"


def picture_kind(raw: bytes) -> str:
    """Return the media type by the first bytes, "" if it is not an image of a type that Claude accepts."""
    return next((kind for pattern, kind in _KINDS if pattern.match(raw)), "")


def picture_size(kind: str, raw: bytes) -> tuple[int, int]:
    """Return width and height in pixels of an image of this media type.

    Raises:
        DamagedPicture: the file is incomplete, or has too many pixels.
    """
    try:
        width, height = _READERS[kind](raw)
    except IndexError:
        raise DamagedPicture(_CUT_SHORT) from None
    if not width or not height:
        raise DamagedPicture("its header declares no pixels")
    if width * height > MAX_PIXELS:
        raise DamagedPicture(f"{width} x {height} pixels are too many")
    return width, height


def _png(raw: bytes) -> _Size:
    at, kind, seen = 8, b"", set()
    for _ in range(MAX_STEPS):
        length, kind = int.from_bytes(raw[at : at + 4]), raw[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(raw):
            raise DamagedPicture(_CUT_SHORT)
        # A lower-case first letter marks an ancillary chunk, which a decoder may skip.
        if kind[:1].isupper() and zlib.crc32(memoryview(raw)[at + 4 : end - 4]) != int.from_bytes(raw[end - 4 : end]):
            raise DamagedPicture("a checksum in it is wrong")
        seen.add(kind)
        if kind == b"IEND":
            break
        at = end
    if not {b"IHDR", b"IDAT"} <= seen:
        raise DamagedPicture("it contains no image data")
    return int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24])


def _jpeg(raw: bytes) -> _Size:
    at, size = 2, (0, 0)
    for _ in range(MAX_STEPS):
        if raw[at] != 0xFF:
            raise DamagedPicture("its parts do not follow each other")
        marker = raw[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            raise DamagedPicture("it contains no image data")
        length = 0 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else int.from_bytes(raw[at + 2 : at + 4])
        # SOF0 to SOF15, the frame headers of all codings; three markers of this range are not frame headers.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = int.from_bytes(raw[at + 7 : at + 9]), int.from_bytes(raw[at + 5 : at + 7])
        at += 2 + length
        if marker == 0xDA:
            break
    # Entropy-coded data cannot contain FF D9; bytes after it are ignored.
    if raw.find(b"\xff\xd9", at) < 0:
        raise DamagedPicture(_CUT_SHORT)
    return size


def _gif(raw: bytes) -> _Size:
    at = 13 + _gif_colors(raw[10])
    pictures = 0
    for _ in range(MAX_STEPS):
        block = raw[at]
        if block == 0x3B:
            break
        if block == 0x2C:
            pictures += 1
            at = _after_gif_data(raw, at + 11 + _gif_colors(raw[at + 9]))
        elif block == 0x21:
            at = _after_gif_data(raw, at + 2)
        else:
            raise DamagedPicture("its parts do not follow each other")
    if not pictures:
        raise DamagedPicture("it contains no image data")
    return int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")


def _gif_colors(flags: int) -> int:
    """Return the size of the color table in bytes."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_gif_data(raw: bytes, at: int) -> int:
    while raw[at]:
        at += 1 + raw[at]
    return at + 1


def _webp(raw: bytes) -> _Size:
    if int.from_bytes(raw[4:8], "little") + 8 > len(raw):
        raise DamagedPicture(_CUT_SHORT)
    kind = raw[12:16]
    if kind == b"VP8 " and raw[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(raw[26:28], "little") & 0x3FFF, int.from_bytes(raw[28:30], "little") & 0x3FFF
    if kind == b"VP8L" and raw[20] == 0x2F:
        bits = int.from_bytes(raw[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and any(part in raw[30:] for part in (b"VP8 ", b"VP8L")):
        return int.from_bytes(raw[24:27], "little") + 1, int.from_bytes(raw[27:30], "little") + 1
    raise DamagedPicture("it contains no image data")


_READERS: Final[Mapping[str, Callable[[bytes], _Size]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
}
