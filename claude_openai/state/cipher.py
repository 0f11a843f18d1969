"""Encrypts values for a store. A value is bound to its name: it cannot be read under another one.

Names contain hashes of keys of callers, from which a weak key can be guessed. So they are hidden too.
"""

import hmac
import os
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Cipher"]

# The first byte of a stored value.
_PLAIN: Final = b"\0"
_AES_GCM: Final = b"\1"
_NONCE_BYTES: Final = 12


class Cipher:
    """See the module.

    Args:
        secret: the key, a text of any length; None leaves values and names as they are.
    """

    def __init__(self, secret: str | None) -> None:
        self._aead = None if secret is None else AESGCM(sha256(b"claude-openai state\0" + secret.encode()).digest())
        self._name_key = None if secret is None else sha256(b"claude-openai names\0" + secret.encode()).digest()

    def hide(self, name: str) -> str:
        """Return under which name to store a value."""
        return name if self._name_key is None else hmac.digest(self._name_key, name.encode(), "sha256").hex()

    def encrypt(self, name: str, value: bytes) -> bytes:
        """Return the value to store."""
        if self._aead is None:
            return _PLAIN + value
        nonce = os.urandom(_NONCE_BYTES)
        return _AES_GCM + nonce + self._aead.encrypt(nonce, value, name.encode())

    def decrypt(self, name: str, stored: bytes) -> bytes | None:
        """Return the value; None if it was stored with another key, without one, under another name, or changed."""
        kind, rest = stored[:1], stored[1:]
        if self._aead is None:
            return rest if kind == _PLAIN else None
        if kind != _AES_GCM:
            return None
        try:
            return self._aead.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):  # ValueError: the stored value is too short
            return None
