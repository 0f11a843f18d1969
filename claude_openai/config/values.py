"""Converters from the text of a flag or variable to its value.

Each raises ValueError. The text of the error is a predicate: `Setting.read` puts the value in front of it.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from claude_openai.config.addresses import UNIX, UnixAddress, parse_address, parse_proxy
from claude_openai.config.redis_url import parse_redis_url
from claude_openai.config.suggestions import did_you_mean
from claude_openai.protocol.turn.claude_options import PERMISSION_MODES

KEY_FILE_BYTES: Final = 8192
LEAST_STATE_KEY: Final = 32
NO_FOLDER: Final = "none"


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    bounds = f"from {low} to {high}" if high < math.inf else f"of at least {low}"

    def convert(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"is not a whole number {bounds}")
        return value

    return convert


def above_zero(high: float = math.inf) -> Callable[[str], float]:
    bound = f" and at most {high:g}" if high < math.inf else ""

    def convert(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            value = 0.0
        if not 0 < value <= high or value == math.inf:
            raise ValueError(f"is not a number above 0{bound}")
        return value

    return convert


def choice(*allowed: str) -> Callable[[str], str]:
    def convert(raw: str) -> str:
        if raw.lower() not in allowed:
            raise ValueError(_not_one_of(raw, allowed))
        return raw.lower()

    return convert


def _not_one_of(word: str, allowed: Sequence[str]) -> str:
    hint = did_you_mean(word, allowed)
    return f"is not one of {', '.join(allowed)}{f'; {hint}' if hint else ''}"


def switch(raw: str) -> bool:
    if raw.lower() in ("1", "true", "yes", "on"):
        return True
    if raw.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither yes (1, true, yes, on) nor no (0, false, no, off)")


def words(raw: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def modes(raw: str) -> tuple[str, ...]:
    unknown = [word for word in words(raw) if word not in PERMISSION_MODES]
    if unknown:
        raise ValueError(f"contains {unknown[0]!r}, which {_not_one_of(unknown[0], PERMISSION_MODES)}")
    return words(raw)


def address(raw: str) -> str:
    """Check an address to listen on; the path of a Unix socket becomes absolute."""
    found = parse_address(raw)
    return f"{UNIX}{found.path}" if isinstance(found, UnixAddress) else raw


def proxy(raw: str) -> str:
    parse_proxy(raw)
    return raw


def several(convert: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Return a converter of words, separated by commas; there must be a word."""

    def convert_all(raw: str) -> tuple[str, ...]:
        found = []
        for word in words(raw):
            try:
                found.append(convert(word))
            except ValueError as error:
                raise ValueError(f"contains {word!r}, which {error}") from None
        if not found:
            raise ValueError("is empty")
        return tuple(found)

    return convert_all


def mode(raw: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", raw):
        raise ValueError("is not the mode of a file in octal, such as 0600")
    return raw


def folders(raw: str) -> tuple[Path, ...]:
    return tuple(path(word).absolute() for word in words(text(raw)))


def text(raw: str) -> str:
    if not raw.strip():
        raise ValueError("is empty")
    return raw


def key(raw: str) -> str:
    return header_text(raw, "an Authorization header")


def header_text(raw: str, header: str = "a header") -> str:
    text(raw)
    if not raw.isascii() or not raw.isprintable() or " " in raw:
        raise ValueError(f"cannot be sent in {header}; expected printable ASCII without spaces")
    return raw


def key_in_file(raw: str) -> str:
    try:
        with path(raw).open("rb") as file:
            content = file.read(KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > KEY_FILE_BYTES:
        raise ValueError(f"is not a key file: it is larger than {KEY_FILE_BYTES} bytes")
    try:
        return key(content.decode(errors="replace").removesuffix("\n").removesuffix("\r"))
    except ValueError as error:
        raise ValueError(f"contains a key that {error}") from None


def state_key_in_file(raw: str) -> str:
    found = key_in_file(raw)
    if len(found) < LEAST_STATE_KEY:
        raise ValueError(f"contains a key of fewer than {LEAST_STATE_KEY} characters; `openssl rand -hex 32` makes one")
    return found


def redis_url(raw: str) -> str:
    parse_redis_url(raw)
    return raw


def path(raw: str) -> Path:
    try:
        return Path(text(raw)).expanduser()
    except RuntimeError:
        raise ValueError("is in the home folder of an unknown user") from None


def file(raw: str) -> Path:
    return path(raw).absolute()


def folder(raw: str) -> Path | None:
    return None if raw.strip().lower() == NO_FOLDER else path(raw).absolute()


def command(raw: str) -> str:
    path(raw)
    return raw
