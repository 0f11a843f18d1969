"""Pictures and files: what is taken, as which block, and how the rest is named."""

import base64
import re
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from claude_openai.claude.control.mcp_server import fit_in_mcp_result
from claude_openai.errors import BadRequest
from claude_openai.protocol.openai.content import assistant_blocks, system_texts, tool_result_block, user_blocks
from claude_openai.protocol.turn.blocks import Block, MediaBlock, TextBlock, ToolResultBlock, ToolUseBlock
from claude_openai.protocol.wire import media
from claude_openai.protocol.wire.image_files import DamagedPicture, picture_kind, picture_size
from tests.pictures import PICTURES, PNG, drawn

PDF = b"%PDF-1.7 rest"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64(raw)}"


def blocks(*parts: Any) -> tuple[Block, ...]:
    return user_blocks({"role": "user", "content": list(parts)}, "messages[0]")


def refused(part: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        blocks(part)
    return raised.value.code, (raised.value.param or "").removeprefix("messages[0].content[0]")


def image(value: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": value}


def file(**inner: Any) -> dict[str, Any]:
    return {"type": "file", "file": inner}


@pytest.mark.parametrize(("kind", "raw"), PICTURES.values(), ids=PICTURES)
def test_picture_type_comes_from_its_bytes_not_its_url(kind: str, raw: bytes) -> None:
    expected = MediaBlock("image", kind, b64(raw))
    assert blocks(image({"url": url(raw, "image/whatever"), "detail": "high"})) == (expected,)


@pytest.mark.parametrize(
    "part",
    [
        image({"url": url(PNG)}),
        image(url(PNG)),
        image(url(PNG).replace("data:", "DATA:").replace(";base64", ";name=a.png;BASE64")),
        image(f"data:image/png;base64,{' '.join(b64(PNG))}\r\n\t\v\f"),
        {"type": "input_image", "image_url": url(PNG), "detail": "auto"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": b64(PNG)}},
        file(file_data=url(PNG), filename="a.png"),
        image(url(PNG)[:40] + "\n" + url(PNG)[40:]),
        image(url(PNG).rstrip("=")),
        image(url(PNG).replace("=", "")),
        image("data:image/png;base64," + quote(b64(PNG), safe="")),
        image("data:image/png;base64," + re.sub("%..", lambda m: m[0].lower(), quote(b64(PNG), safe=""))),
        image("data:image/png; base64," + b64(PNG)),
        image("data:image/png;base64," + base64.urlsafe_b64encode(PNG).decode().rstrip("=")),
        image("data:image/png," + quote(PNG, safe="")),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": url(PNG)}},
    ],
)
def test_each_way_to_send_a_picture_is_the_same_block(part: Any) -> None:
    assert blocks(part) == (MediaBlock("image", "image/png", b64(PNG)),)


@pytest.mark.parametrize(
    "part",
    [
        image({"url": "https://example.org/a.png"}),
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ],
)
def test_a_url_is_passed_on_and_not_fetched(part: Any) -> None:
    assert blocks(part) == (MediaBlock("image", "", "https://example.org/a.png"),)


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (file(file_data=url(PDF, "application/pdf"), filename="a.pdf"), ("application/pdf", b64(PDF), "a.pdf")),
        (file(file_data=b64(PDF)), ("application/pdf", b64(PDF), "")),
        (file(file_data=b64(PDF).rstrip("=")), ("application/pdf", b64(PDF), "")),
        (file(file_data="data:text/plain;charset=utf-8,a%20%C3%A9%2Cb"), ("text/plain", "a é,b", "")),
        (file(file_data=url("é".encode(), "text/markdown"), filename="a.md"), ("text/plain", "é", "a.md")),
        ({"type": "input_file", "file_data": url(PDF)}, ("application/pdf", b64(PDF), "")),
        ({"type": "input_file", "file_url": "https://example.org/a.pdf"}, ("", "https://example.org/a.pdf", "")),
        (
            {"type": "document", "source": {"type": "text", "data": "hi"}, "title": "t"},
            ("text/plain", "hi", "t"),
        ),
        ({"type": "document", "source": {"type": "base64", "data": b64(PDF)}}, ("application/pdf", b64(PDF), "")),
        (
            {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
            ("", "https://example.org/a.pdf", ""),
        ),
    ],
)
def test_a_file_is_a_document_or_a_text(part: Any, block: tuple[str, str, str]) -> None:
    assert blocks(part) == (MediaBlock("document", *block),)


def test_texts_and_pictures_keep_their_order() -> None:
    parts = [{"type": "text", "text": "a"}, image(url(PNG)), {"type": "text", "text": "b"}]
    assert blocks(*parts) == (TextBlock("a"), MediaBlock("image", "image/png", b64(PNG)), TextBlock("b"))


@pytest.mark.parametrize(
    ("part", "code", "place"),
    [
        (image(None), "missing_required_parameter", ".image_url"),
        (image({}), "missing_required_parameter", ".image_url.url"),
        (image(7), "invalid_type", ".image_url"),
        (image({"url": "http://example.org/a.png"}), "invalid_value", ".image_url.url"),
        (image({"url": "file:///etc/passwd"}), "invalid_value", ".image_url.url"),
        (image({"url": "/etc/passwd"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png,plain"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png;base64,"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png;base64,%%%"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png;base64,é"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png;base64,QUJDR"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png;base64,QU=JD"}), "invalid_value", ".image_url.url"),
        (image({"url": "data:image/png," + "%41" * 100_001}), "invalid_value", ".image_url.url"),
        (image({"url": url(b"no picture at all")}), "invalid_value", ".image_url.url"),
        ({"type": "input_image", "file_id": "file-1"}, "unsupported_value", ".file_id"),
        (file(), "missing_required_parameter", ".file.file_data"),
        (file(file_id="file-1"), "unsupported_value", ".file.file_id"),
        (file(file_data=7), "invalid_type", ".file.file_data"),
        (file(file_data=url(PDF), filename=7), "invalid_type", ".file.filename"),
        (file(file_data=url(b"\x00\xff\xfe", "application/zip")), "invalid_value", ".file.file_data"),
        (file(file_data=url(b" \n", "text/plain")), "invalid_value", ".file.file_data"),
        ({"type": "file", "file": "a.pdf"}, "invalid_type", ".file"),
        ({"type": "image"}, "invalid_type", ".source"),
        ({"type": "image", "source": {"type": "base64"}}, "invalid_type", ".source.data"),
        ({"type": "document", "source": {"type": "url"}}, "invalid_type", ".source.url"),
        ({"type": "image", "source": {"type": "url", "url": "http://a/b"}}, "invalid_value", ".source.url"),
        ({"type": "document", "source": {"type": "url", "url": "http://a/b"}}, "invalid_value", ".source.url"),
        ({"type": "document", "source": {"type": "url", "url": "file:///a"}}, "invalid_value", ".source.url"),
        ({"type": "input_file", "file_url": "http://a/b"}, "invalid_value", ".file_url"),
        ({"type": "input_file", "file_url": 7}, "invalid_type", ".file_url"),
        ({"type": "input_file"}, "missing_required_parameter", ".file_data"),
    ],
)
def test_what_is_no_picture_and_no_file_is_refused_at_its_exact_place(part: Any, code: str, place: str) -> None:
    assert refused(part) == (code, place)


@pytest.mark.parametrize(
    "url", ["https://", "https:///a", "https://?q", "https://a b", "https://a/\n", "https://a/\x00", "https:a"]
)
def test_a_url_that_is_none_is_refused_wherever_it_stands(url: str) -> None:
    for part, place in (
        (image({"url": url}), ".image_url.url"),
        ({"type": "input_image", "image_url": url}, ".image_url"),
        ({"type": "input_file", "file_url": url}, ".file_url"),
        ({"type": "image", "source": {"type": "url", "url": url}}, ".source.url"),
        ({"type": "document", "source": {"type": "url", "url": url}}, ".source.url"),
    ):
        assert refused(part) == ("invalid_value", place)


@pytest.mark.parametrize("url", ["HTTPS://example.org", "https://müller.de/ü?q=1#a", "https://user@[::1]:8000/a%20b"])
def test_urls_as_people_write_them_are_taken(url: str) -> None:
    assert blocks(image(url)) == (MediaBlock("image", "", url),)


def test_what_is_larger_than_claude_takes_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    # One byte too many: the length of the base64 does not show it.
    anthropic = {"type": "image", "source": {"type": "base64", "data": b64(PNG.ljust(media.MAX_IMAGE_BYTES + 1, b"1"))}}
    assert refused(anthropic) == ("invalid_value", ".source.data")

    def decode(*_: Any, **__: Any) -> bytes:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(base64, "b64decode", decode)
    picture, document = b64(bytes(media.MAX_IMAGE_BYTES + 10)), b64(bytes(media.MAX_FILE_BYTES + 10))
    assert refused(image(f"data:image/png;base64,{picture}")) == ("invalid_value", ".image_url")
    assert refused(file(file_data=f"data:;base64,{document}"))[1] == ".file.file_data"
    for kind, data in (("image", picture), ("document", document)):
        assert refused({"type": kind, "source": {"type": "base64", "data": data}})[1] == ".source.data"


@given(st.data(), st.sampled_from(sorted(PICTURES)))
def test_a_picture_that_was_cut_short_is_refused(data: st.DataObject, name: str) -> None:
    _, raw = PICTURES[name]
    cut = raw[: data.draw(st.integers(12, len(raw) - 1))]
    assert refused(image(url(cut))) == ("invalid_value", ".image_url")
    assert refused(file(file_data=url(cut))) == ("invalid_value", ".file.file_data")


@pytest.mark.parametrize("begin", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x0a\0\0\0WEBP"])
@pytest.mark.parametrize("rest", [b"", b"rest", b"rest" * 100, b"\0" * 100, b"\xff" * 100])
def test_what_only_begins_like_a_picture_is_refused(begin: bytes, rest: bytes) -> None:
    assert refused(image(url(begin + rest))) == ("invalid_value", ".image_url")


@given(st.sampled_from(sorted(PICTURES)), st.data())
def test_no_bytes_break_the_reading_of_a_picture(name: str, data: st.DataObject) -> None:
    kind, raw = PICTURES[name]
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + data.draw(st.binary(max_size=20)) + raw[at:]
    with suppress(DamagedPicture):
        assert min(picture_size(kind, changed)) > 0


@pytest.mark.parametrize(
    ("width", "height", "words"), [(0, 5, "no pixels"), (5, 0, "no pixels"), (8000, 8001, "8000 x 8001 pixels")]
)
def test_a_picture_of_a_size_that_cannot_be_read_is_refused(width: int, height: int, words: str) -> None:
    header = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    changed = PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]
    with pytest.raises(DamagedPicture, match=words):
        picture_size("image/png", changed)
    assert refused(image(url(changed))) == ("invalid_value", ".image_url")


@pytest.mark.parametrize("step", [b"\0\0\0\0abcd\0\0\0\0", b"\0\0\0\1abcda\0\0\0\0"])
def test_a_picture_of_very_many_parts_takes_no_long_time(step: bytes) -> None:
    began = time.process_time()
    with suppress(DamagedPicture):
        picture_size("image/png", PNG[:33] + step * (media.MAX_IMAGE_BYTES // len(step)))
    assert time.process_time() - began < 2.0


# Drawn by the test: it takes seconds.
LARGE: dict[str, Callable[[], bytes]] = {
    "a wide one": partial(drawn, "RGB", (9000, 40), "PNG"),
    "one of many bytes": partial(drawn, "RGB", (1900, 1900), "PNG", noise=True, compress_level=1),
    "one of both": partial(drawn, "RGB", (2400, 2300), "JPEG", noise=True, quality=100),
    "one with transparency": partial(drawn, "RGBA", (2100, 2100), "PNG", noise=True, compress_level=1),
    "one of a palette": partial(drawn, "P", (3000, 10), "GIF"),
    "one with a long comment": partial(drawn, "RGB", (900, 900), "GIF", noise=True, comment=b"x" * 70_000),
    "a grey one": partial(drawn, "L", (10, 3000), "WEBP"),
}


@pytest.mark.parametrize("draw", LARGE.values(), ids=LARGE)
def test_a_picture_that_is_too_large_is_made_as_small_as_claude_takes_wherever_it_stands(
    draw: Callable[[], bytes],
) -> None:
    raw = draw()
    (block,) = blocks(image(url(raw)))
    assert isinstance(block, MediaBlock)
    data = base64.b64decode(block.data)
    assert picture_kind(data) == block.media_type
    before, after = picture_size(picture_kind(raw), raw), picture_size(block.media_type, data)
    assert max(after) <= media.MAX_SIDE
    assert len(data) <= media.MAX_SENT_IMAGE_BYTES
    assert after[0] / after[1] == pytest.approx(before[0] / before[1], rel=0.2)
    anthropic = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(raw)}}
    assert blocks(anthropic) == blocks(file(file_data=url(raw))) == (block,)
    result = tool_result_block({"tool_call_id": "a", "content": [image(url(raw))]}, "messages[0]")
    assert result.parts == (block,)


def test_a_picture_that_is_small_enough_stays_as_it_is() -> None:
    raw = drawn("RGB", (2000, 2000), "PNG")
    assert blocks(image(url(raw))) == (MediaBlock("image", "image/png", b64(raw)),)


def test_picture_of_too_many_bytes_keeps_its_sides_at_a_lower_quality() -> None:
    (block,) = blocks(image(url(drawn("RGB", (1000, 1000), "JPEG", noise=True, quality=100))))
    assert isinstance(block, MediaBlock)
    assert picture_size("image/jpeg", base64.b64decode(block.data)) == (1000, 1000)


def test_rotated_photo_is_rotated_before_it_is_encoded_again() -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    (block,) = blocks(image(url(drawn("RGB", (4000, 1000), "JPEG", exif=turned))))
    assert isinstance(block, MediaBlock)
    assert picture_size("image/jpeg", base64.b64decode(block.data)) == (500, 2000)


def test_a_picture_that_looks_whole_and_cannot_be_read_is_refused_if_it_is_too_large() -> None:
    header = b"IHDR" + struct.pack(">II", 4000, 10) + PNG[24:29]
    changed = PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]
    assert refused(image(url(changed))) == ("invalid_value", ".image_url")


@given(st.binary(min_size=1))
def test_no_bytes_at_all_break_the_reading_of_a_file(raw: bytes) -> None:
    part = file(file_data=url(raw, "x/y"), filename="f")
    try:
        read = blocks(part)
    except BadRequest:
        assert refused(part) == ("invalid_value", ".file.file_data")
        return
    (block,) = read
    assert isinstance(block, MediaBlock)
    assert block.data == (raw.decode() if block.media_type == "text/plain" else b64(raw))


def test_a_tool_result_may_hold_pictures_with_their_data() -> None:
    content = [{"type": "text", "text": " "}, image(url(PNG)), {"type": "text", "text": ""}]
    block = tool_result_block({"tool_call_id": "a", "content": content}, "messages[0]")
    assert block == ToolResultBlock("a", (TextBlock(" "), MediaBlock("image", "image/png", b64(PNG))))


@pytest.mark.parametrize(
    "part",
    [
        image("https://example.org/a.png"),
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ],
)
def test_a_tool_result_may_hold_a_url(part: Any) -> None:
    (block,) = tool_result_block({"tool_call_id": "a", "content": [part]}, "messages[0]").parts
    assert block == MediaBlock("image", "", "https://example.org/a.png")


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (file(file_data=url(PDF)), MediaBlock("document", "application/pdf", b64(PDF))),
        ({"type": "image", "data": b64(PNG), "mimeType": "image/png"}, MediaBlock("image", "image/png", b64(PNG))),
        (
            {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "application/pdf", "blob": b64(PDF)}},
            MediaBlock("document", "application/pdf", b64(PDF)),
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            MediaBlock("document", "text/plain", "x"),
        ),
    ],
)
def test_a_tool_result_may_hold_a_file(part: Any, block: MediaBlock) -> None:
    result = tool_result_block({"tool_call_id": "a", "content": [part]}, "messages[0]")
    assert result.parts == (block,)
    assert fit_in_mcp_result([result]) == (block.kind == "image")


@pytest.mark.parametrize("part", [image(url(PNG)), file(file_data=url(PDF))])
def test_pictures_of_the_system_or_the_assistant_are_refused(part: Any) -> None:
    for read in (system_texts, assistant_blocks):
        with pytest.raises(BadRequest) as raised:
            read({"role": "?", "content": [part]}, "messages[0]")
        assert raised.value.param == "messages[0].content[0].type"


def test_calls_and_results_in_the_form_of_claudes_own_api_are_taken() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"b": 1, "a": 2}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    said = assistant_blocks({"content": [thinking, {"type": "text", "text": "So:"}, use]}, "messages[0]")
    assert said == (TextBlock("So:"), ToolUseBlock("toolu_1", "read", '{"a":2,"b":1}'))
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "42"}]}
    assert blocks(result) == (ToolResultBlock("toolu_1", (TextBlock("42"),)),)


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "tool_use", "name": "f", "input": {}}, ".id"),
        ({"type": "tool_use", "id": "a", "name": "", "input": {}}, ".name"),
        ({"type": "tool_use", "id": "a", "name": "f", "input": "{}"}, ".input"),
    ],
)
def test_a_malformed_call_in_that_form_is_refused_at_its_exact_place(part: Any, place: str) -> None:
    with pytest.raises(BadRequest) as raised:
        assistant_blocks({"content": [part]}, "messages[0]")
    assert raised.value.param == f"messages[0].content[0]{place}"
