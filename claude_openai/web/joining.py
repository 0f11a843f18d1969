"""Which running turn a request joins, so that no turn is paid twice after its connection broke.

A request with an `Idempotency-Key` joins the turn of the same caller, key and body, also when it has ended. The retry
of a client library, which has no key, joins a turn of the same caller and body that has lost its client. It joins no
turn that is still read, since a program may send the same request several times on purpose.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import trio
from werkzeug.datastructures import Headers

from claude_openai.errors import IdempotencyKeyReused
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.wire.bad_request import wrong_value
from claude_openai.runs.lasting import Lasting

__all__ = ["KEY_HEADER", "KEY_PATTERN", "MAX_KEY_CHARS", "Joinable", "Joined", "joinable_of"]

KEY_HEADER: Final = "Idempotency-Key"
RETRY_HEADER: Final = "x-stainless-retry-count"
MAX_KEY_CHARS: Final = 255
KEY_PATTERN: Final = rf"^[!-~]{{1,{MAX_KEY_CHARS}}}$"
# Of the answers that have ended.
MAX_ANSWERS: Final = 1000
MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 3600.0
# What an answer takes besides its frames.
ANSWER_BYTES: Final = 4096


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


@dataclass(slots=True)
class _Entry:
    digest: bytes
    lasting: Lasting
    size: int = 0
    until: float = 0.0


class Joined:
    """The turns that requests may join, and the answers that are kept for their keys. A caller finds only its own."""

    def __init__(self, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._running: dict[Joinable, list[Lasting]] = {}
        self._by_key: dict[tuple[str, str], _Entry] = {}
        self._ended: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._size = 0

    def find(self, asked: Joinable) -> Lasting | None:
        """Return the turn or the answer that a request joins.

        Raises:
            IdempotencyKeyReused: its key is that of another request.
        """
        if not asked.key:
            return self._lost(asked)
        self._drop_old()
        entry = self._by_key.get((asked.caller, asked.key))
        if entry is None or not entry.lasting.can_be_joined:
            return None
        if entry.digest != asked.digest:
            raise IdempotencyKeyReused(
                f"The {KEY_HEADER} {shorten(asked.key)} was used for another request",
                hint="Send a new key with each new request, and the same path and body with the same key.",
                param=KEY_HEADER,
                may_retry=False,
            )
        return entry.lasting

    def add(self, asked: Joinable, lasting: Lasting) -> None:
        """Note that the turn of a request begins."""
        if asked.key:
            self._by_key[asked.caller, asked.key] = _Entry(asked.digest, lasting)
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
        entry = self._by_key[name]
        if entry.lasting is not lasting:  # it had lost its readers, and another turn has begun
            return
        if not keep:
            del self._by_key[name]
            return
        entry.size, entry.until = lasting.size + ANSWER_BYTES, trio.current_time() + KEPT_S
        self._ended[name] = entry
        self._size += entry.size
        self._drop_old()

    def _lost(self, asked: Joinable) -> Lasting | None:
        running = self._running.get(_place(asked), ()) if asked.is_retry else ()
        return next((each for each in running if each.can_be_joined and not each.readers), None)

    def _drop_old(self) -> None:
        while self._ended:
            name, entry = next(iter(self._ended.items()))
            fits = len(self._ended) <= self._max_answers and self._size <= self._max_bytes
            if fits and trio.current_time() < entry.until:
                return
            del self._ended[name], self._by_key[name]
            self._size -= entry.size


def _place(asked: Joinable) -> Joinable:
    return Joinable(asked.caller, "", asked.digest, is_retry=True)
