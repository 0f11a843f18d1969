"""The address of a Redis or Valkey: `redis://[USER@]HOST[:PORT][/DB]`, `rediss://` for TLS, or `unix:///PATH[?db=DB]`."""

from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["RedisUrl", "parse_redis_url"]

PORT: Final = 6379


class RedisUrl(NamedTuple):
    """An address without its password.

    Attributes:
        text: the whole URL, for messages.
        path: the path of a Unix socket; "" for a host and a port.
    """

    text: str
    host: str
    port: int
    path: str
    db: int
    user: str | None
    is_tls: bool


def parse_redis_url(text: str) -> RedisUrl:
    """Parse a URL.

    Raises:
        ValueError: it is not such a URL, or has a password; the text of the error is a predicate, without the URL.
    """
    form = "is not redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB"
    try:
        url = urlsplit(text)
        port = PORT if url.port is None else url.port
    except ValueError:
        raise ValueError(form) from None
    if url.password is not None:
        raise ValueError("has a password, which others could see; put it in a file, for --state-password-file")
    is_unix = url.scheme == "unix"
    db = url.query.removeprefix("db=") if is_unix else url.path.strip("/")
    is_query = bool(url.query) and not (is_unix and url.query.startswith("db="))
    has_place = url.path.startswith("/") and len(url.path) > 1 if is_unix else bool(url.hostname)
    is_number = not db or (db.isascii() and db.isdigit() and len(db) < 6)
    if url.scheme not in ("redis", "rediss", "unix") or is_query or url.fragment or not has_place or not is_number:
        raise ValueError(form)
    return RedisUrl(
        text=text,
        host="" if is_unix else str(url.hostname),
        port=port,
        path=unquote(url.path) if is_unix else "",
        db=int(db or 0),
        user=unquote(url.username) if url.username else None,
        is_tls=url.scheme == "rediss",
    )
