"""The keys in the bytes of a terminal."""

import pytest

from claude_openai.commands.top.keys import KeyReader


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"jk q?", ["j", "k", " ", "q", "?"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[1~\x1b[4~", ["page up", "page down", "home", "end", "home", "end"]),
        (b"\x1b[1;5Aj\x1b[200~k", ["j", "k"]),  # Ctrl with an arrow, and the begin of a paste
        ("ä漢".encode(), ["ä", "漢"]),
        (b"\x1bq", ["\x1b", "q"]),
    ],
)
def test_keys_are_read_in_pieces_of_any_size(data: bytes, keys: list[str]) -> None:
    assert KeyReader().feed(data) == keys
    reader = KeyReader()
    assert [key for byte in data for key in reader.feed(bytes([byte]))] == keys
    assert not reader.is_incomplete


def test_escape_is_a_key_if_nothing_follows() -> None:
    reader = KeyReader()
    assert reader.feed(b"j\x1b") == ["j"]
    assert reader.is_incomplete
    assert reader.finish() == ["\x1b"]
    assert not reader.is_incomplete
