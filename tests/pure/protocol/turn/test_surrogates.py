"""Halves of a character in two pieces of a text."""

from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.turn.surrogates import PairJoiner, paired

# Some within the basic plane, some beyond it.
TEXTS = st.text(st.sampled_from("ab\u20ac\U0001f600\U00010000\U0010ffff"), max_size=8)


def halves(text: str) -> str:
    """The text with both halves of a pair as characters of their own."""
    data = text.encode("utf-16-le")
    return "".join(chr(int.from_bytes(data[at : at + 2], "little")) for at in range(0, len(data), 2))


@given(TEXTS, st.data())
def test_wherever_a_text_is_cut_it_comes_out_whole(text: str, data: st.DataObject) -> None:
    units = halves(text)
    borders = sorted(data.draw(st.lists(st.integers(0, len(units)), max_size=4)))
    joiner = PairJoiner()
    pieces = [joiner.feed(units[a:b]) for a, b in zip([0, *borders], [*borders, len(units)], strict=True)]
    assert "".join(pieces) + joiner.rest() == text
    assert paired(units) == text


def test_a_half_alone_is_replaced() -> None:
    joiner = PairJoiner()
    assert [joiner.feed("a\ud83d"), joiner.feed("b"), joiner.feed("\ude00")] == ["a", "\ufffdb", "\ufffd"]
    assert (joiner.feed("\ud83d"), joiner.rest(), joiner.rest()) == ("", "\ufffd", "")
    assert paired("\ufeff\ude00\ud83d") == "\ufeff\ufffd\ufffd"
