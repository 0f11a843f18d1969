"""Who may use the control routes from the page in a browser.

The page logs in once, with a key or a ticket, and gets a cookie and a token. Each further request must have both. The
cookie alone is not enough, because browsers send it to every port of the host: a server of another user on this machine
can see it. The token is kept by the page's origin, which the port is part of, and no other page can send it.

A ticket is for a server without an API key: `claude-openai dashboard` asks for one with the control key, which only the
user of the server can read. It can be used once. All is in memory: a restart ends the sessions.
"""

import hmac
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Final, TypeVar

import trio
from werkzeug.datastructures import Headers

from claude_openai.config import Config
from claude_openai.errors import RateLimited, Unauthorized
from claude_openai.keys.key import Key
from claude_openai.keys.keyring import Keyring

__all__ = ["PageAccess", "PageSession", "first_ticket", "is_own_page", "page_access", "set_cookie"]

PAGE_HEADER: Final = "x-claude-openai-page"
SESSION_S: Final = 12 * 3600
TICKET_S: Final = 3600
MAX_SESSIONS: Final = 64
MAX_TICKETS: Final = 64
SECRET_BYTES: Final = 32
# Wrong keys that an address may send in a minute.
MAX_FAILURES: Final = 10
FAILURES_WITHIN_S: Final = 60.0
MAX_ADDRESSES: Final = 256

K = TypeVar("K")
V = TypeVar("V")


def page_access(config: Config, named: Keyring | None = None) -> "PageAccess":
    """Return the access of a server that has just started."""
    keys = [key for key in (config.api_key, config.control_key) if key is not None]
    return PageAccess(keys, [] if config.control_key is None else [first_ticket(config.control_key)], named)


def first_ticket(control_key: str) -> str:
    """Return the ticket that a server accepts once without having been asked for it, for its first lines."""
    return hmac.new(control_key.encode(), b"the first ticket of the page", sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class PageSession:
    """A page that has logged in.

    Attributes:
        cookie: value of its cookie.
        token: value of its header.
        ends_at: time at which it ends, in seconds of trio's clock.
        key: the named key with which it logged in; it sees only the runs of this key.
    """

    cookie: str
    token: str
    ends_at: float
    key: Key | None = None


@dataclass(slots=True)
class PageAccess:
    """The sessions and the tickets of one server.

    Args:
        keys: the keys that a login accepts.
        tickets: tickets that are valid from the start.
        named: further keys, for the runs of each.
    """

    keys: Iterable[str]
    tickets: Iterable[str] = ()
    named: Keyring | None = None
    _sessions: dict[bytes, PageSession] = field(default_factory=dict)
    _tickets: dict[bytes, float] = field(default_factory=dict)
    _failures: dict[str, deque[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = tuple(self.keys)
        self._tickets.update((_digest(ticket), trio.current_time() + TICKET_S) for ticket in self.tickets)

    def new_ticket(self) -> str:
        """Return a ticket for one login within `TICKET_S`."""
        ticket = secrets.token_urlsafe(SECRET_BYTES)
        self._tickets[_digest(ticket)] = trio.current_time() + TICKET_S
        _drop_oldest(self._tickets, MAX_TICKETS)
        return ticket

    def log_in(self, address: str, *, key: str = "", ticket: str = "") -> PageSession:
        """Begin a session.

        Args:
            address: of the client, to bound its wrong attempts.
            key: one of the keys, or a named key, "" if the client has a ticket.
            ticket: used up by this.

        Raises:
            Unauthorized: the key or the ticket is wrong.
            RateLimited: too many keys were wrong. Not even the right one is accepted then, but a ticket is, which
                cannot be guessed: another user of the machine cannot lock out the user of the server.
        """
        now = trio.current_time()
        named = None
        if ticket:
            if not self._is_ticket(ticket, now):
                raise Unauthorized(
                    "This address was used already, or is too old",
                    hint="`claude-openai dashboard` prints a new one.",
                    code="invalid_ticket",
                )
        else:
            named = self._check_key(address, key, now)
        cookie, token = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        session = PageSession(cookie, token, now + SESSION_S, named)
        self._sessions[_digest(session.cookie)] = session
        _drop_oldest(self._sessions, MAX_SESSIONS)
        return session

    def log_out(self, session: PageSession) -> None:
        self._sessions.pop(_digest(session.cookie), None)

    def is_open(self, session: PageSession) -> bool:
        """Return whether a session has neither ended nor been logged out."""
        is_known = session.ends_at > trio.current_time() and _digest(session.cookie) in self._sessions
        return is_known and self.is_valid(session.key)

    def is_valid(self, key: Key | None) -> bool:
        """Return whether a named key, if it is one, has neither expired nor been revoked."""
        return key is None or self.named is None or self.named.is_valid(key)

    def session_of(self, headers: Headers) -> PageSession | None:
        """Return the session of a request with a valid cookie and its token, None if it has none.

        The caller has checked Host and Origin. An origin that CORS allows has no session here: only the page itself.
        """
        token = headers.get(PAGE_HEADER, "")
        if not token or not is_own_page(headers):
            return None
        for cookie in _cookies(headers, cookie_name(headers)):
            session = self._sessions.get(_digest(cookie))
            if session is not None and self.is_open(session) and _equal(token, session.token):
                return session
        return None

    def _check_key(self, address: str, key: str, now: float) -> Key | None:
        failures = self._failures.get(address, deque())
        while failures and failures[0] <= now - FAILURES_WITHIN_S:
            failures.popleft()
        if len(failures) >= MAX_FAILURES:
            wait_s = round(failures[0] + FAILURES_WITHIN_S - now) + 1
            raise RateLimited("Too many wrong keys", hint=f"Try again in {wait_s} s.", retry_after_s=wait_s)
        # Compare with all keys, so that the time does not show which one matched.
        named = self.named.find(key) if self.named is not None else None
        is_one = True in [_equal(key, known) for known in self.keys]
        if not is_one and (named is None or not self.is_valid(named)):
            failures.append(now)
            self._failures.pop(address, None)
            self._failures[address] = failures
            _drop_oldest(self._failures, MAX_ADDRESSES)
            raise Unauthorized("The key is wrong", hint="Clients of this server send it as their API key.")
        return None if is_one else named

    def _is_ticket(self, ticket: str, now: float) -> bool:
        # Looked up by a hash: the time shows nothing of the tickets.
        return self._tickets.pop(_digest(ticket), 0.0) > now


def is_own_page(headers: Headers) -> bool:
    """Return whether a request does not come from a page of another origin, even if CORS allows that."""
    origin, host = headers.get("Origin"), headers.get("Host", "").lower()
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return False
    return headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def cookie_name(headers: Headers) -> str:
    """Return the cookie's name, with the port: a browser has one set of cookies for all ports of a host."""
    port = headers.get("Host", "").rpartition(":")[2]
    return f"claude_openai_{port if port.isdecimal() and port.isascii() else 'page'}"


def set_cookie(headers: Headers, session: PageSession | None) -> str:
    """Return the Set-Cookie header for a session; None deletes the cookie."""
    value, age_s = ("", 0) if session is None else (session.cookie, SESSION_S)
    # Not the scheme of the connection: a proxy may have ended TLS.
    secure = "; Secure" if headers.get("Origin", "").lower().startswith("https://") else ""
    return f"{cookie_name(headers)}={value}; Path=/control; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"


def _cookies(headers: Headers, name: str) -> list[str]:
    found = []
    for header in headers.getlist("Cookie"):
        try:
            morsel = SimpleCookie(header).get(name)
        except CookieError:
            continue
        if morsel is not None:
            found.append(morsel.value)
    return found


def _digest(secret: str) -> bytes:
    return sha256(secret.encode(errors="surrogatepass")).digest()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(_digest(one), _digest(other))


def _drop_oldest(entries: dict[K, V], limit: int) -> None:
    while len(entries) > limit:
        del entries[next(iter(entries))]
