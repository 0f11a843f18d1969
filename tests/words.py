"""Counts the words that STYLE.md replaces: `python -m tests.words` prints them, and where they are with `--where`.

Counted are the texts people read: docstrings, comments, strings of more than one word, and the Markdown files. Names in
the code are not, nor is what stands in code quotes of a docstring or a document.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["CEILINGS", "WORDS", "Text", "count", "find", "texts_of_markdown", "texts_of_python"]

REPOSITORY: Final = Path(__file__).parents[1]

# Word -> the most often it may occur in the program, in the documents, and in the tests. Lower these, never raise them.
CEILINGS: Final[dict[str, tuple[int, int, int]]] = {
    "anew": (0, 0, 5),
    "belong into": (0, 0, 0),
    "by itself": (0, 0, 0),
    "given": (3, 1, 1),
    "it knows": (0, 0, 0),
    "likewise": (0, 0, 0),
    "mend": (1, 0, 2),
    "nobody": (0, 0, 0),
    "one that": (3, 3, 0),
    "said": (2, 0, 12),
    "tell": (1, 0, 16),
    "whoever": (0, 0, 0),
}

# Word -> its pattern.
WORDS: Final = {
    word: re.compile(rf"\b{pattern}\b", re.IGNORECASE)
    for word, pattern in {
        "anew": "anew",
        "belong into": "belongs? into",
        "by itself": "by (?:itself|himself|themselves)",
        "given": "given",
        "it knows": "knows(?: of)? (?:no|nothing)",
        "likewise": "likewise",
        "mend": "mend(?:s|ed|ing)?",
        "nobody": "nobody(?:'s)?",
        "one that": "(?:one|those) that",
        "said": "said",
        "tell": "(?:tells?|told|telling)",
        "whoever": "(?:who|what|which)(?:ever|soever)",
    }.items()
}
# Quickly shows that a file has none: the words of a text may be in several strings, and on several lines.
_ANY: Final = re.compile("|".join(pattern.pattern.replace(" ", r"\W+") for pattern in WORDS.values()), re.IGNORECASE)
_QUOTED: Final = re.compile(r"```.*?```|``[^`]*``|`[^`\n]*`", re.DOTALL)


class Text(NamedTuple):
    """A text and the line on which it begins."""

    line: int
    text: str


def texts_of_python(source: str) -> Iterator[Text]:
    """Docstrings, messages and comments of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(node.lineno, node.value)
    if not any(_ANY.search(comment) for comment in re.findall("#.*", source)):
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)


def texts_of_markdown(source: str) -> Iterator[Text]:
    """The paragraphs of a document, without its blocks of code."""
    prose = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), source, flags=re.DOTALL | re.MULTILINE)
    for paragraph in re.finditer(r"(?:.+\n?)+", prose):
        yield Text(prose.count("\n", 0, paragraph.start()) + 1, paragraph[0])


def _files() -> Iterator[tuple[int, Path]]:
    """Each file with its part: 0 is the program, 1 are the documents, 2 are the tests."""
    yield from ((0, path) for path in (REPOSITORY / "claude_openai").rglob("*.py"))
    documents = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md"]
    documents += [*(REPOSITORY / "claude_openai").rglob("*.md"), *(REPOSITORY / ".github").rglob("*.md")]
    # The rules of style quote what they replace.
    yield from ((1, path) for path in documents if path.name != "STYLE.md")
    yield from ((2, path) for path in (REPOSITORY / "tests").rglob("*.py") if path != Path(__file__))


def find() -> Iterator[tuple[str, int, Path, int]]:
    """Each occurrence: the word, the part, the file and the line."""
    for part, path in _files():
        source = path.read_text("utf-8")
        if not _ANY.search(source):
            continue
        for line, text in texts_of_python(source) if path.suffix == ".py" else texts_of_markdown(source):
            prose = _QUOTED.sub(lambda quoted: " " + "\n" * quoted[0].count("\n"), text)
            for word, pattern in WORDS.items():
                for match in pattern.finditer(" ".join(prose.split(" "))):
                    yield word, part, path, line + prose.count("\n", 0, match.start())


def count() -> dict[str, tuple[int, int, int]]:
    """Word -> how often it occurs in the program, the documents and the tests."""
    found = Counter((word, part) for word, part, _, _ in find())
    return {word: (found[word, 0], found[word, 1], found[word, 2]) for word in WORDS}


def main(arguments: list[str]) -> None:
    """Print the table as it stands in this module, or with `--where` each occurrence."""
    if arguments == ["--where"]:
        for word, _, path, line in sorted(find()):
            sys.stdout.write(f"{path.relative_to(REPOSITORY)}:{line}: {word}\n")
        return
    counts = count()
    for word, numbers in counts.items():
        sys.stdout.write(f'    "{word}": {numbers},\n')
    sys.stdout.write(f"in total: {[sum(column) for column in zip(*counts.values(), strict=True)]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
