"""A picture and a PDF, and how Claude was sent them."""

import base64
from typing import Any

from claude_openai.protocol.wire.image_files import picture_kind
from claude_openai.testing import RecordedRequest
from tests.pictures import PNG

__all__ = ["FILES", "PDF", "PICTURE", "sent"]


PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"


def _url(raw: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


PICTURE = {"type": "image_url", "image_url": {"url": _url(PNG, "image/png")}}
FILES = tuple(
    {"type": "file", "file": {"filename": name, "file_data": _url(raw, kind)}}
    for name, raw, kind in (("a.pdf", PDF, "application/pdf"), ("a.txt", b"some text", "text/plain"))
)


def sent(request: RecordedRequest, index: int) -> list[tuple[str, str]]:
    """The blocks of a message, each with what distinguishes it."""
    message = [m for m in request.messages if m["role"] != "system"][index]
    return [(block["type"], _told(block)) for block in message["content"]]


def _told(block: dict[str, Any]) -> str:
    source = block.get("source", {})
    match source.get("type"):
        case "url":
            return str(source["url"])
        case "text":
            return str(source["data"])
        case "base64":
            # Claude Code may encode a picture again, so its bytes are not compared.
            raw = base64.b64decode(source["data"])
            assert raw[:4] == b"%PDF" or picture_kind(raw) == source["media_type"]
            return str(source["media_type"])
    return str(block.get("text", ""))
