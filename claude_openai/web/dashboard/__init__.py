"""The files of the page, read when this is imported: all are then of the version that runs (see `preload`)."""

from pathlib import Path
from typing import Final

__all__ = ["FILES"]

_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

# Content type and content, by name.
FILES: Final = {name: (kind, (Path(__file__).parent / name).read_bytes()) for name, kind in _TYPES.items()}
