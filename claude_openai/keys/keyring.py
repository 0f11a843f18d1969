"""The named keys of a server, which follow the changes of their file."""

import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from claude_openai.errors import ConfigError, Unauthorized
from claude_openai.keys.file import Stamp, read_keys, stamp_of
from claude_openai.keys.key import Key, hash_of
from claude_openai.logs.log import NULL_LOG, Log

__all__ = ["Keyring"]


class Keyring:
    """See the module. A look-up first looks whether the file has changed, which takes microseconds.

    If a changed file cannot be used, the last good keys stay: one typing error must not lock out everybody.

    Args:
        path: the file.
        log: for changes.
        now: Unix time.

    Raises:
        ConfigError: the file cannot be used.

    Attributes:
        problem: why the file as it is now cannot be used, "" if it can.
        changes: how often the keys have changed.
    """

    def __init__(self, path: Path, log: Log = NULL_LOG, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._log = log
        self._now = now
        self.problem = ""
        self.changes = 0
        self._stamp: Stamp | None
        keys, self._stamp = read_keys(path)
        self._keys = _by_hash(keys)

    def find(self, secret: str) -> Key | None:
        """Return the key that a client has sent, None if there is no such key. It may have expired: see `refusal`."""
        self.refresh()
        digest = hash_of(secret)
        key = self._keys.get(digest)
        # The time of the look-up shows parts of a hash at most, from which no key can be found.
        return None if key is None or not hmac.compare_digest(key.sha256, digest) else key

    def refusal(self, key: Key) -> Unauthorized | None:
        """Return the error for a key that has expired, None for any other."""
        if not key.has_expired(self._now()):
            return None
        return Unauthorized(
            f"The API key of {key.name!r} has expired, at {key.expires}",
            hint="Ask the operator of this server for a new one.",
            code="expired_api_key",
        )

    def has(self, key: Key) -> bool:
        """Return whether a key that was found earlier was in the file when that was read last; it may have expired."""
        return key.sha256 in self._keys

    def is_valid(self, key: Key) -> bool:
        """Return whether a key that was found earlier has neither been revoked nor expired."""
        self.refresh()
        return self.has(key) and not key.has_expired(self._now())

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        stamp = stamp_of(self._path)
        if stamp == self._stamp:
            return
        try:
            keys, self._stamp = read_keys(self._path)
        except ConfigError as error:
            self._stamp, self.problem = stamp, error.problem
            self._log.error("keys.not_read", reason=self.problem)
        else:
            self._keys, self.problem = _by_hash(keys), ""
            self.changes += 1
            self._log.info("keys.read", keys=len(keys))


def _by_hash(keys: tuple[Key, ...]) -> Mapping[str, Key]:
    return {key.sha256: key for key in keys}
