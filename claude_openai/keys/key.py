"""A named key, and its JSON form in the keys file.

The file has a hash of each key. The keys are random, of 256 bits: too many to try, so a fast hash is enough.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, get_args

from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.claude_options import ToolMode

__all__ = ["RESERVED_NAMES", "TOOL_MODES", "Key", "hash_of", "iso", "name_problem"]

TOOL_MODES: Final = tuple(mode for mode in get_args(ToolMode) if mode != "disabled")
# The usage of callers without a key of their own has these names.
RESERVED_NAMES: Final = ("none", "default")
_DEFAULTS: Final = (None, (), False)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A named key.

    Attributes:
        name: of the person or program that has it.
        sha256: hash of the key.
        created: time at which it was made, in ISO 8601.
        expires: time from which on it is refused, in ISO 8601; None for never.
        models: patterns of the models that it may use, such as `claude-haiku*`; none for all.
        tool_modes: the tool modes that its requests may select, besides `disabled`.
        web_search: whether its requests may have Claude search the web.
        folders: where its requests may let Claude's own tools work; none for all that the server allows.
        max_concurrency: of its turns that run or wait; None for no limit of its own.
        max_cost_per_day: dollars of a local day; None for no limit of its own.
    """

    name: str
    sha256: str
    created: str
    expires: str | None = None
    models: tuple[str, ...] = ()
    tool_modes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    web_search: bool = False
    max_concurrency: int | None = None
    max_cost_per_day: float | None = None

    @classmethod
    def from_json(cls, data: Any) -> "Key":
        """Parse an entry of the file.

        Raises:
            ValueError: it is not valid; the text names the member, and what is expected.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"{shorten(data)} is not an object")
        unknown = [name for name in data if name not in _EXPECTED]
        if unknown:
            # It may be a limit, with a typing error in its name.
            raise ValueError(f"has the unknown member {shorten(unknown[0])}; expected {', '.join(_EXPECTED)}")
        values: dict[str, Any] = {}
        for name, (is_valid, expected) in _EXPECTED.items():
            value: Any = data.get(name)
            if value is None and name not in ("name", "sha256", "created"):
                continue
            if not is_valid(value):
                raise ValueError(f"has the {name} {shorten(value)}; expected {expected}")
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the entry, without the members that have their defaults."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items() if v not in _DEFAULTS}

    def has_expired(self, now: float) -> bool:
        """Return whether it is refused.

        Args:
            now: Unix time.
        """
        return self.expires is not None and datetime.fromisoformat(self.expires).timestamp() <= now

    def allows_model(self, *names: str) -> bool:
        """Return whether it may use a model, which has one or more names."""
        return not self.models or any(fnmatchcase(name, pattern) for name in names for pattern in self.models)


def hash_of(secret: str) -> str:
    """Return the hash of a key."""
    return sha256(secret.encode(errors="surrogatepass")).hexdigest()


def name_problem(name: str) -> str:
    """Return why a name cannot be that of a key, "" if it can."""
    if name in RESERVED_NAMES:
        return "is reserved for callers without a key of their own"
    return "" if _is_name(name) else "is no name of a key; expected up to 64 letters, digits and '.', '_', '@', '-'"


def iso(seconds: float) -> str:
    """Return a Unix time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value not in RESERVED_NAMES and _NAME.fullmatch(value) is not None


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _is_modes(value: object) -> bool:
    return _is_list(value) and set(value) <= set(TOOL_MODES)  # type: ignore[call-overload]  # a list of strings


def _is_folders(value: object) -> bool:
    return _is_list(value) and all(Path(each).is_absolute() and "\0" not in each for each in value)  # type: ignore[attr-defined]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_dollars(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


_TIME: Final = (_is_time, "a time in ISO 8601 with its zone, such as 2027-01-31T00:00:00Z")
_EXPECTED: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "name": (_is_name, "up to 64 letters, digits and '.', '_', '@', '-'"),
    "sha256": (_is_hash, "64 hex digits in lower case"),
    "created": _TIME,
    "expires": _TIME,
    "models": (_is_list, "a list of names or patterns, not empty"),
    "tool_modes": (_is_modes, f"a list of {', '.join(TOOL_MODES)}, not empty"),
    "folders": (_is_folders, "a list of absolute paths, not empty"),
    "web_search": (lambda value: isinstance(value, bool), "true or false"),
    "max_concurrency": (_is_count, "a whole number of at least 1"),
    "max_cost_per_day": (_is_dollars, "a number above 0"),
}
