"""Checks the `format` keyword of JSON Schema.

The checks are lenient: a date-time needs no offset, because pydantic uses `date-time` for times without one; a time
needs no seconds; a URI may contain letters of any script. Unknown formats are ignored, as JSON Schema demands. Every
check takes linear time.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from claude_openai.protocol.json_schema.patterns import is_pattern
from claude_openai.protocol.limits.budget import Budget

__all__ = ["has_format"]

_Check: TypeAlias = Callable[[str], bool]

_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME: Final = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:[Zz]|[+-](\d\d):?(\d\d))?", re.ASCII)
# Years, months, weeks and so on: each at most once, and at least one of them.
_DURATION: Final = re.compile(
    r"[+-]?P(?=\d|T\d)(?:\d+Y)?(?:\d+M)?(?:\d+W)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:[.,]\d+)?S)?)?", re.ASCII
)
_EMAIL: Final = re.compile(r'(?:[^\s@"]+|"[^"]+")@[^\s@]+')
# The standard excludes underscores from host names, but many private networks use them.
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_LABEL_OF_ANY_SCRIPT: Final = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_IN_A_URI: Final = r"""[^\s<>"\x00-\x1f\x7f]"""
_URI: Final = re.compile(rf"[a-z][a-z0-9+.-]*:(?!//(?:[/?#]|$)){_IN_A_URI}+|file:///{_IN_A_URI}*", re.IGNORECASE)
_URI_REFERENCE: Final = re.compile(rf"{_IN_A_URI}*")
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_POINTER: Final = re.compile(r"(?:0|[1-9]\d*)(?:#|(?:/(?:[^~/]|~[01])*)*)", re.ASCII)
# Syntax of JavaScript's patterns that Python's dialect lacks: such patterns are not checked.
_JAVASCRIPT: Final = re.compile(r"\[\^?\]|\\u\{|\\c|\(\?<|\\k|\[\^?\[")
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MAX_REGEX_CHARS: Final = 1000


def has_format(name: str, text: str, budget: Budget) -> bool:
    """Return whether the text is of the format; True for unknown formats.

    Raises:
        TooMuchWork: the budget is exhausted.
    """
    if name == "regex":
        return len(text) > MAX_REGEX_CHARS or _JAVASCRIPT.search(text) is not None or is_pattern(text, budget)
    check = _CHECKS.get(name)
    return check is None or check(text)


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if found is None:
        return False
    year, month, day = map(int, found.groups())
    if not 1 <= month <= 12:
        return False
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _DAYS[month - 1] + (month == 2 and is_leap)


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    if found is None:
        return False
    hour, minute, second, offset_hour, offset_minute = (int(part or 0) for part in found.groups())
    # Second 60 is a leap second.
    return hour < 24 and minute < 60 and second <= 60 and offset_hour < 24 and offset_minute < 60


def _is_date_time(text: str) -> bool:
    return _is_date(text[:10]) and text[10:11] in ("T", "t", " ") and _is_time(text[11:])


def _is_hostname(label: re.Pattern[str]) -> _Check:
    def check(text: str) -> bool:
        labels = text.removesuffix(".").split(".")
        return len(text) <= 254 and all(label.fullmatch(each) for each in labels)

    return check


def _is_address(read: Callable[[str], object]) -> _Check:
    def check(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return "%" not in text  # a zone is only valid on one machine

    return check


def _matches(pattern: re.Pattern[str]) -> _Check:
    return lambda text: pattern.fullmatch(text) is not None


_CHECKS: Final[Mapping[str, _Check]] = {
    "date": _is_date,
    "time": _is_time,
    "date-time": _is_date_time,
    "duration": _matches(_DURATION),
    "email": _matches(_EMAIL),
    "idn-email": _matches(_EMAIL),
    "hostname": _is_hostname(_LABEL),
    "idn-hostname": _is_hostname(_LABEL_OF_ANY_SCRIPT),
    "ipv4": _is_address(ipaddress.IPv4Address),
    "ipv6": _is_address(ipaddress.IPv6Address),
    "uuid": _matches(_UUID),
    "uri": _matches(_URI),
    "iri": _matches(_URI),
    "uri-reference": _matches(_URI_REFERENCE),
    "iri-reference": _matches(_URI_REFERENCE),
    "json-pointer": _matches(_POINTER),
    "relative-json-pointer": _matches(_RELATIVE_POINTER),
}
