"""Keys files for tests."""

from pathlib import Path
from typing import Any

from claude_openai.keys.file import edited
from claude_openai.keys.key import Key, hash_of

__all__ = ["bearer", "named_key", "secret_of", "write_keys"]


def secret_of(name: str) -> str:
    return f"sk-secret-of-{name}"


def bearer(name: str) -> dict[str, str]:
    """The header with the key of this name."""
    return {"authorization": f"Bearer {secret_of(name)}"}


def named_key(name: str, **limits: Any) -> Key:
    return Key(name, hash_of(secret_of(name)), "2026-11-01T00:00:00Z", **limits)


def write_keys(path: Path, *keys: Key) -> Path:
    """Write a keys file with these keys only; return its path."""
    with edited(path) as entries:
        entries[:] = keys
    return path
