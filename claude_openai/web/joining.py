"""Which running turn a request joins, so that no turn is paid twice after its connection broke.

A request with an `Idempotency-Key` joins the turn of the same caller, key and body, also when it has ended. The retry
of a client library, which has no key, joins a turn of the same caller and body that has lost its client. It joins no
turn that is still read, since a program may send the same request several times on purpose.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from werkzeug.datastructures import Headers

from claude_openai.errors import IdempotencyKeyReused
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.wire.bad_request import wrong_value
from claude_openai.runs.kept_answers import KeptAnswers
from claude_openai.runs.lasting import Lasting

__all__ = ["KEY_HEADER", "KEY_PATTERN", "MAX_KEY_CHARS", "Joinable", "Joined", "joinable_of"]

KEY_HEADER: Final = "Idempotency-Key"
RETRY_HEADER: Final = "x-stainless-retry-count"
MAX_KEY_CHARS: Final = 255
KEY_PATTERN: Final = rf"^[!-~]{{1,{MAX_KEY_CHARS}}}$"


@dataclass(frozen=True, slots=True)
class Joinable:
    """A request whose turn another request may join.

    Attributes:
        caller: as in `Exchange`.
        key: its idempotency key, "" for none.
        digest: of its path and its body.
        is_retry: whether a client library has sent it before.
    """

    caller: str
    key: str
    digest: bytes
    is_retry: bool


def joinable_of(
    headers: Headers, path: str, body: bytes, caller: str, *, stream: bool
) -> Callable[[], Joinable] | None:
    """Return what makes the `Joinable` of a request, which takes time; None if its turn belongs to it alone.

    Without a key, only whole answers for a client library can be joined. It does not repeat a stream that has begun,
    and streams are what users interrupt: those turns must end at once.

    Raises:
        BadRequest: the key is invalid.
    """
    key = headers.get(KEY_HEADER)
    if key is not None and re.fullmatch(KEY_PATTERN, key) is None:
        raise wrong_value(KEY_HEADER, f"1 to {MAX_KEY_CHARS} visible characters of ASCII", key)
    tries = headers.get(RETRY_HEADER, "", type=str)
    if key is None and (stream or not tries):
        return None
    is_retry = tries.isdecimal() and tries.strip("0") != ""
    return lambda: Joinable(caller, key or "", sha256(path.encode() + b"\0" + body).digest(), is_retry)


@dataclass(frozen=True, slots=True)
class _Keyed:
    digest: bytes
    lasting: Lasting


class Joined:
    """The turns that requests may join, and the answers that are kept for their keys. A caller finds only its own."""

    def __init__(self) -> None:
        self._running: dict[Joinable, list[Lasting]] = {}
        self._keyed: dict[tuple[str, str], _Keyed] = {}
        self._ended = KeptAnswers[tuple[str, str], _Keyed]()

    def find(self, asked: Joinable) -> Lasting | None:
        """Return the turn or the answer that a request joins.

        Raises:
            IdempotencyKeyReused: its key is that of another request.
        """
        if not asked.key:
            return self._lost(asked)
        name = (asked.caller, asked.key)
        found = self._keyed.get(name) or self._ended.get(name)
        if found is None or not found.lasting.can_be_joined:
            return None
        if found.digest != asked.digest:
            raise IdempotencyKeyReused(
                f"The {KEY_HEADER} {shorten(asked.key)} was used for another request",
                hint="Send a new key with each new request, and the same path and body with the same key.",
                param=KEY_HEADER,
                may_retry=False,
            )
        return found.lasting

    def add(self, asked: Joinable, lasting: Lasting) -> None:
        """Note that the turn of a request begins."""
        if asked.key:
            self._keyed[asked.caller, asked.key] = _Keyed(asked.digest, lasting)
        else:
            self._running.setdefault(_place(asked), []).append(lasting)

    def note_end(self, asked: Joinable, lasting: Lasting, *, keep: bool) -> None:
        """Note that a turn is over; `keep` its answer for its key, within the bounds."""
        if not asked.key:
            place = _place(asked)
            self._running[place].remove(lasting)
            if not self._running[place]:
                del self._running[place]
            return
        name = (asked.caller, asked.key)
        keyed = self._keyed.get(name)
        if keyed is None or keyed.lasting is not lasting:  # it lost its readers, and another turn was begun
            return
        del self._keyed[name]
        if keep:
            self._ended.put(name, keyed, lasting.size)

    def forget(self) -> int:
        """Drop the answers that have ended; return how many there were."""
        return self._ended.clear()

    def _lost(self, asked: Joinable) -> Lasting | None:
        running = self._running.get(_place(asked), ()) if asked.is_retry else ()
        return next((each for each in running if each.can_be_joined and not each.readers), None)


def _place(asked: Joinable) -> Joinable:
    return Joinable(asked.caller, "", asked.digest, is_retry=True)
