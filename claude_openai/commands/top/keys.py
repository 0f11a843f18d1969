"""Turns the bytes that a terminal sends into keys. Pure."""

import codecs
import re
from typing import Final

__all__ = ["KeyReader"]

# The sequences of xterm in both modes of the cursor keys, of the Linux console and of rxvt.
_NAMED: Final = {
    f"\x1b{sequence}": name
    for name, sequences in {
        "up": ("[A", "OA"),
        "down": ("[B", "OB"),
        "home": ("[H", "OH", "[1~", "[7~"),
        "end": ("[F", "OF", "[4~", "[8~"),
        "page up": ("[5~",),
        "page down": ("[6~",),
    }.items()
    for sequence in sequences
}
_KEY: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b(?![\[O])|[^\x1b]", re.DOTALL)


class KeyReader:
    """Reads keys. A sequence may arrive in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def is_incomplete(self) -> bool:
        """Whether more bytes may belong to the last key."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete: characters, or names such as "page up". Unknown keys are left out."""
        text, self._rest = self._rest + self._decoder.decode(data), ""
        keys, at = [], 0
        while at < len(text):
            found = _KEY.match(text, at)
            if found is None or text[at:] == "\x1b":
                self._rest = text[at:]
                break
            at = found.end()
            if len(found[0]) == 1 or found[0] in _NAMED:
                keys.append(_NAMED.get(found[0], found[0]))
        return keys

    def finish(self) -> list[str]:
        """Return the key Escape if nothing has followed its byte."""
        rest, self._rest = self._rest, ""
        return ["\x1b"] if rest else []
