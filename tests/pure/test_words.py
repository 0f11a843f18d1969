"""The words that STYLE.md replaces become fewer, never more."""

from tests.words import CEILINGS, count, texts_of_markdown, texts_of_python


def test_words_occur_at_most_as_often_as_their_ceilings_allow() -> None:
    counted = count()
    more = [word for word, most in CEILINGS.items() if any(map(int.__gt__, counted[word], most))]
    assert not more, "`python -m tests.words --where` shows the places"


def test_texts_of_python_are_docstrings_comments_and_messages() -> None:
    source = 'def f():\n    """It is told."""\n    # anew\n    return "was mended", "anew"\n'
    assert sorted(text for _, text in texts_of_python(source)) == ["# anew", "It is told.", "was mended"]


def test_texts_of_markdown_are_paragraphs_without_code() -> None:
    source = "# Title\n\nIt is told\nanew.\n\n```sh\nmend it\n```\n"
    assert [(line, text.strip()) for line, text in texts_of_markdown(source)] == [
        (1, "# Title"),
        (3, "It is told\nanew."),
    ]
