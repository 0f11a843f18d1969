"""Bytes as they come from a pipe -> lines, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.claude_code.line_framer import LineFramer, LineTooLong

lines_of_bytes = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8)


@given(lines_of_bytes, st.binary(max_size=5), st.data())
def test_lines_are_the_same_however_the_bytes_are_cut(lines: list[bytes], rest: bytes, data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + rest.replace(b"\n", b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    framer = LineFramer()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [line for piece in pieces for line in framer.feed(piece)] == [line for line in lines if line.strip()]


@given(lines_of_bytes)
def test_line_is_returned_with_the_byte_that_ends_it(lines: list[bytes]) -> None:
    framer = LineFramer()
    for line in lines:
        for byte in line:
            assert framer.feed(bytes([byte])) == []
        assert framer.feed(b"\n") == ([line] if line.strip() else [])


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 10, b"x"], [b"done\nxxxxx", b"xxxxx", b"x"], [b"x"] * 11])
def test_a_line_that_grows_beyond_the_limit_is_refused(pieces: list[bytes]) -> None:
    framer = LineFramer(max_line_bytes=10)
    *before, last = pieces
    for piece in before:
        framer.feed(piece)
    with pytest.raises(LineTooLong, match="10 bytes"):
        framer.feed(last)


def test_many_short_lines_may_be_longer_than_the_limit_together() -> None:
    framer = LineFramer(max_line_bytes=10)
    assert len(framer.feed(b"12345678\n" * 100)) == 100
    assert [framer.feed(b"12345678\n") for _ in range(100)] == [[b"12345678"]] * 100
