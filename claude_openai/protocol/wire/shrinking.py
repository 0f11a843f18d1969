"""Makes pictures small enough for Claude.

Claude Code shrinks pictures that are too large in a prompt, and adds a text about it, but not in a history, where
Claude's API rejects them. So every picture is made small enough here, wherever it is, and Claude Code does not change
it. Equal pictures stay equal, which keeps the prompt cache valid; results of recent requests are cached. This module is
imported at the first picture that is too large.
"""

import io
from hashlib import sha256
from typing import Any, Final

from PIL import Image, ImageOps

from claude_openai.protocol.limits.bounded_cache import Kept

__all__ = ["CannotBeShrunk", "shrunk"]

# The quality is reduced before the sides: text stays legible.
QUALITIES: Final = (85, 70)
LEAST_QUALITY: Final = 50
# Factor by which the sides are reduced, repeatedly, while the file has too many bytes.
STEP: Final = 0.75
KEPT_BYTES: Final = 16 * 1024 * 1024

_kept: Final[Kept[tuple[str, bytes]]] = Kept(KEPT_BYTES)


class CannotBeShrunk(Exception):
    """The picture cannot be decoded; the text is the reason."""


def shrunk(raw: bytes, *, max_side: int, max_bytes: int) -> tuple[str, bytes]:
    """Return the picture, shrunk to at most `max_side` pixels a side and `max_bytes` bytes. Blocks.

    Returns:
        The media type and the bytes.

    Raises:
        CannotBeShrunk: the picture cannot be decoded.
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
            opened.draft("RGB", (max_side, max_side))  # decode a JPEG at reduced size
            has_alpha = opened.has_transparency_data
            mode = "RGBA" if has_alpha else "RGB"
            # `convert` copies all pixels, up to 200 MB, even if the mode is the same.
            image = opened if opened.mode == mode else opened.convert(mode)
            image.thumbnail((max_side, max_side))
            ImageOps.exif_transpose(image, in_place=True)
            image.info.pop("comment", None)  # the format that is written may not hold it
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CannotBeShrunk(str(error)) from error
    if not is_photo:  # a PNG keeps drawings and text sharp, if it is small enough
        kept_whole = _written(image, "PNG")
        if len(kept_whole) <= max_bytes:
            return "image/png", kept_whole
    form = "WEBP" if has_alpha else "JPEG"
    while len(smallest := _written(image, form, quality=LEAST_QUALITY)) > max_bytes:
        image = image.resize([max(1, int(side * STEP)) for side in image.size])
    better = (_written(image, form, quality=quality) for quality in QUALITIES)
    return f"image/{form.lower()}", next((data for data in better if len(data) <= max_bytes), smallest)


def _written(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
