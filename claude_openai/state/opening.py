"""Makes the state store of the settings."""

from collections.abc import Iterator
from contextlib import contextmanager

from claude_openai.config import Config
from claude_openai.config.redis_url import parse_redis_url
from claude_openai.errors import StartError
from claude_openai.extras import install_command
from claude_openai.logs.log import Log
from claude_openai.state.store import StateStore

__all__ = ["needing_extra", "open_state"]


def open_state(config: Config, log: Log) -> StateStore | None:
    """Return the store of `config.state_url` or `config.responses_file`, for the caller to run; None if neither is set.

    Raises:
        StartError: an extra is missing.
    """
    # Imported here: Redis is an extra, and servers without a file need no SQLite.
    if config.state_url is None and config.responses_file is not None and config.store:
        from claude_openai.state.file import FileState

        return FileState(config.responses_file)
    if config.state_url is None:
        return None
    with needing_extra():
        from claude_openai.state.cipher import Cipher
        from claude_openai.state.redis import RedisStore
    return RedisStore(parse_redis_url(config.state_url), config.state_password, Cipher(config.state_key), log)


@contextmanager
def needing_extra() -> Iterator[None]:
    """Import a module that needs the extra of Redis.

    Raises:
        StartError: the extra is missing.
    """
    try:
        yield
    except ImportError as error:
        raise StartError(
            f"--state-url needs coredis and cryptography, which are not installed: {error}",
            hint=f"install them with: {install_command('replicas')}",
        ) from error
