"""Citations: markdown links to results of searches, in a text that is streamed in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.openai.citations import MAX_LINK_CHARS, Citation, Citations
from claude_openai.protocol.turn.events import Source

TRIO = Source("https://trio.readthedocs.io/", "Trio")
WIKI = Source("https://en.wikipedia.org/wiki/Trio_(music)", "Trio (music)")
PIECES = (
    *("[a](https://trio.readthedocs.io)", "[b](https://en.wikipedia.org/wiki/Trio_(music))", "[", "]", "(", ")", "]("),
    *("\U0001f600", "é", "\\", " ", "https://trio.readthedocs.io/", "\n"),
)


def cited(*pieces: str, sources: tuple[Source, ...] = (TRIO, WIKI)) -> list[Citation]:
    citations = Citations()
    citations.add(sources)
    return [citation for piece in pieces for citation in citations.feed(piece)]


def spans(text: str) -> list[str]:
    return [text[citation.start : citation.end] for citation in cited(text)]


@pytest.mark.parametrize(
    "link",
    [
        "[Trio](https://trio.readthedocs.io/)",
        "[Trio](https://trio.readthedocs.io)",
        "[Trio](https://trio.readthedocs.io/#top)",
        "[Trio](<https://trio.readthedocs.io/>)",
        '[Trio](https://trio.readthedocs.io/ "the docs")',
        "[Trio [the docs]](https://trio.readthedocs.io/)",
        r"[Trio \] docs](https://trio.readthedocs.io/)",
        "[Trio](https://en.wikipedia.org/wiki/Trio_(music))",
        "[](https://trio.readthedocs.io/)",
    ],
)
def test_a_link_to_a_result_is_cited_as_a_whole(link: str) -> None:
    assert spans(f"\U0001f600 See ({link}), and {link}.") == [link, link]


@pytest.mark.parametrize(
    "text",
    [
        "[Trio](https://example.org/)",
        "Trio](https://trio.readthedocs.io/)",
        r"\[Trio](https://trio.readthedocs.io/)",
        "[Trio] (https://trio.readthedocs.io/)",
        "https://trio.readthedocs.io/",
        "[Trio]()",
        "[Trio]( )",
        f"[{'x' * MAX_LINK_CHARS}](https://trio.readthedocs.io/)",
    ],
)
def test_text_without_a_link_to_a_result_is_not_cited(text: str) -> None:
    assert cited(text) == []


def test_a_picture_within_a_link_is_not_the_link() -> None:
    link = "[![icon](https://example.org/i.png)](https://trio.readthedocs.io/)"
    assert spans(link) == [link]


def test_indices_count_code_points_of_the_whole_text() -> None:
    (citation,) = cited("\U0001f600\u00e9 " * 3000, "[a](https://trio.readthedocs.io/)")
    assert (citation.start, citation.end, citation.source) == (9000, 9033, TRIO)
    assert citation.fields() == {"start_index": 9000, "end_index": 9033, "title": "Trio", "url": TRIO.url}


def test_a_text_before_the_first_search_is_counted_and_not_cited() -> None:
    citations = Citations()
    before = citations.has_sources, citations.feed("[a](https://trio.readthedocs.io/)")
    assert before == (False, [])
    citations.add([TRIO])
    assert citations.has_sources
    (citation,) = citations.feed("[b](https://trio.readthedocs.io/)")
    assert (citation.start, citation.end) == (33, 66)


def test_indices_of_the_next_text_begin_at_0() -> None:
    citations = Citations()
    citations.add([TRIO])
    citations.feed("[a](https://trio.readthedocs.io/) [")
    citations.begin_text()
    (citation,) = citations.feed("x](https://trio.readthedocs.io/) [b](https://trio.readthedocs.io/)")
    assert citation.start == 33


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.data())
def test_citations_do_not_depend_on_how_the_text_is_split(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    split = [text[begin:end] for begin, end in zip([0, *places], [*places, len(text)], strict=True)]
    whole = cited(text)
    assert cited(*split) == whole == cited(*text)
    assert all(one.end <= other.start for one, other in pairwise(whole))
    assert all(text[each.start] == "[" and text[each.end - 1] == ")" for each in whole)
