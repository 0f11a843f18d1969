"""Finds secrets in a text as spans, and names that announce a secret.

Three signs. A *name* with its value: `password: x`, `"api_key": "x"`, `API_KEY=x`, `--api-key x`, `('x-api-key', 'x')`,
`Cookie: x` up to the end of the line. A *shape*: keys of known makers, JSON Web Tokens, private key blocks. The *user
part* of an address. In doubt a span is too long, never too short; a number after a name like `max_tokens` is a count
and stays.

Pure.

Trap: every span is searched in the original text, independently of the others. If patterns were replaced one after the
other, the first (`token: Bearer`) would remove the word by which the second recognizes the secret.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

__all__ = ["NameKind", "Span", "is_number", "kind_of_name", "secret_spans"]

Span: TypeAlias = tuple[int, int]
NameKind: TypeAlias = Literal["plain", "count", "secret"]

# Literals are found with str.find, some thirty times faster than a search; the expressions then match only there.
_NAME_PARTS = ("auth", "token", "secret", "passw", "passphrase", "cookie", "credential", "bearer", "key")
_NAME = r"authorization|token|secret|passw(?:or)?d|passphrase|cookie|credential|bearer"
_KEY_OF = "|".join(rf"(?<={of})|(?<={of}[ _.-])" for of in ("api", "private", "access"))
_HEAD = re.compile(
    rf"(?P<name>(?:{_NAME}|(?<!\w)auth(?![\w.-])|(?:{_KEY_OF})key)[\w.-]{{0,64}}+)"
    r"""(?:\\*["']?\]?\s*+[!:=]+>?\s*+|\\*["']\s*+,\s*+|(?P<gap>\\*["']?\s++))""",
    re.IGNORECASE,
)
_FLAG_BEFORE = re.compile(r"(?:(?<![\w-])-|--)[\w-]*\Z")
_OPENING = re.compile(r"""[bru]{0,2}\\*["']|[\[({]""", re.IGNORECASE)

_LINE = re.compile(r"[^\r\n]+")
_ITEM = r""""(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\[\](){}"']++"""
_NESTED = _ITEM
for _ in range(3):
    _NESTED = rf"{_ITEM}|[\[({{](?:{_NESTED})*+[\])}}]"
_INNER_QUOTE = r"""(?<![,:=\[{(])["'](?=\w)"""
_VALUE = re.compile(
    r"""[bru]{0,2}(?P<quote>\\*["'])(?P<quoted>.*?)(?:(?<!\\)(?P=quote)(?!\w)|\Z)"""
    rf"|[\[({{](?:(?:{_NESTED})*+[\])}}]|.*)"
    rf"""|(?:[^\s"']|{_INNER_QUOTE})*(?:[^\s"',;)}}\]]|{_INNER_QUOTE})""",
    re.IGNORECASE | re.DOTALL,
)

_NUMBER = re.compile(r"-?\d[\d.,_]*")
_COUNT = re.compile(r"[tT]okens(?![a-z])|TOKENS(?![A-Z])|[tT](?:oken|OKEN)[_-]?(?:[cC]ount|COUNT|[lL]imit|LIMIT)")
_SECRET_NAME = re.compile(rf"{_NAME}|(?:api|private|access)key|^auth$")
_NOT_ALNUM = re.compile(r"[\W_]+")

_SHAPES = tuple(
    (start, re.compile(shape, re.IGNORECASE | re.DOTALL))
    for start, shape in (
        ("://", r'://([^\s/"]{1,1024})@'),
        ("sk-", r"((?:(?<![a-z0-9])sk-|sk-(?=ant-))[\w-]{6,})"),
        ("ghp_", r"(ghp_\w{16,})"),
        ("gho_", r"(gho_\w{16,})"),
        ("github_pat_", r"(github_pat_\w{16,})"),
        ("xox", r"(xox[a-z]-[\w-]{8,})"),
        ("akia", r"(akia[0-9a-z]{16})"),
        ("eyj", r"(eyj[\w-]{8,512}+\.[\w-]{8,}(?:\.[\w-]*)?)"),
        ("-----begin", r"(-----begin [a-z ]{0,32}private key-----.*?(?:-----end [a-z ]{0,32}private key-----|\Z))"),
    )
)


def kind_of_name(name: str) -> NameKind:
    """Classify a key, flag or header by its name: `secret`, `count` (numbers are not secret) or `plain`."""
    if _SECRET_NAME.search(_NOT_ALNUM.sub("", name).lower()) is None:
        return "plain"
    return "count" if _COUNT.search(name) else "secret"


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def secret_spans(text: str) -> list[Span]:
    """Return the spans of everything that looks like a secret, unordered and possibly overlapping."""
    lowered = text.lower()
    if len(lowered) != len(text):  # the one letter that grows when lowered
        lowered = text.replace("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "I").lower()
    heads = [at for part in _NAME_PARTS if part in lowered for at in _positions(lowered, part)]
    spans = list(_named_values(text, sorted(heads))) if heads else []
    for start, shape in _SHAPES:
        if start in lowered:
            spans += _shaped(text, shape, _positions(lowered, start))
    return spans


def _positions(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _shaped(text: str, shape: re.Pattern[str], starts: Iterator[int]) -> Iterator[Span]:
    done = 0
    for start in starts:
        if start >= done and (found := shape.match(text, start)):
            yield found.span(1)
            done = found.end()


def _named_values(text: str, starts: list[int]) -> Iterator[Span]:
    """Yield the spans of values after names; `starts` are the positions where a name may begin, ascending.

    Names inside an unquoted value are read again only where a quote or bracket opens, those inside a quoted value
    never: that keeps the time linear in the text, also for hostile texts.
    """
    covered, covered_bare = 0, True
    for start in starts:
        head = _HEAD.match(text, start)
        if head is None or (head["gap"] and not _joins_by_space(text, head)):
            continue
        opening = _OPENING.match(text, head.end())
        if head.end() < covered and not (covered_bare and opening):
            continue
        name = head["name"]
        by_line = opening is None and ("authorization" in name.lower() or "cookie" in name.lower())
        value = (_LINE if by_line else _VALUE).match(text, head.end())
        if value is None or (_COUNT.search(name) and is_number(value[0].strip("\"'\\"))):
            continue
        yield value.span() if by_line or value["quote"] is None else value.span("quoted")
        covered, covered_bare = max(covered, value.end()), opening is None


def _joins_by_space(text: str, head: re.Match[str]) -> bool:
    """`--api-key VALUE` and `Bearer VALUE`, but not `token by token`."""
    before = text[max(0, head.start() - 64) : head.start()]
    return head["name"].lower() == "bearer" or _FLAG_BEFORE.search(before) is not None
