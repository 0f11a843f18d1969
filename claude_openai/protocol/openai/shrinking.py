"""Makes pictures small enough for Claude.

Claude Code shrinks pictures that are too large in a prompt, and adds a text about it, but not in a history, where
Claude's API rejects them. So every picture is made small enough here, wherever it is, and Claude Code does not change
it. Equal pictures stay equal, which keeps the prompt cache valid; results of recent requests are cached. Imported with
the first picture that is too large.
"""

import io
from hashlib import sha256
from typing import Any, Final

from PIL import Image, ImageOps

from claude_openai.protocol.limits.bounded_cache import Kept

__all__ = ["CannotBeShrunk", "shrunk"]

QUALITY: Final = 85
# By how much a picture is made smaller that has too many bytes at the size that it may have.
STEP: Final = 0.75
KEPT_BYTES: Final = 16 * 1024 * 1024

_kept: Final[Kept[tuple[str, bytes]]] = Kept(KEPT_BYTES)


class CannotBeShrunk(Exception):
    """The picture cannot be decoded; the text is the reason."""


def shrunk(raw: bytes, *, max_side: int, max_bytes: int) -> tuple[str, bytes]:
    """A picture with no more pixels a side, and no more bytes, than these. Blocks.

    Returns:
        Its media type, and its bytes.

    Raises:
        CannotBeShrunk: it cannot be read.
    """
    key = sha256(raw).hexdigest()
    found = _kept.get(key)
    if found is None:
        found = _shrunk(raw, max_side, max_bytes)
        _kept.put(key, found, len(found[1]))
    return found


def _shrunk(raw: bytes, max_side: int, max_bytes: int) -> tuple[str, bytes]:
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            is_photo = opened.format == "JPEG"
            opened.draft("RGB", (max_side, max_side))  # a JPEG need not be decoded in full
            has_alpha = opened.has_transparency_data
            mode = "RGBA" if has_alpha else "RGB"
            # No copy of all its pixels, which may have 200 MB, where there is none to be made.
            image = opened if opened.mode == mode else opened.convert(mode)
            image.thumbnail((max_side, max_side))
            ImageOps.exif_transpose(image, in_place=True)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CannotBeShrunk(str(error)) from error
    if not is_photo:  # what programs draw, and texts, stay sharp if there is room for them
        kept_whole = _written(image, "PNG")
        if len(kept_whole) <= max_bytes:
            return "image/png", kept_whole
    form = "WEBP" if has_alpha else "JPEG"
    while len(data := _written(image, form, quality=QUALITY)) > max_bytes:
        image = image.resize([max(1, int(side * STEP)) for side in image.size])
    return f"image/{form.lower()}", data


def _written(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
