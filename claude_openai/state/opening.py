"""Makes the store that the settings name."""

from typing import TYPE_CHECKING

from claude_openai.config import Config
from claude_openai.config.redis_url import parse_redis_url
from claude_openai.errors import StartError
from claude_openai.extras import install_command
from claude_openai.logs.log import Log

if TYPE_CHECKING:
    from claude_openai.state.redis import RedisStore

__all__ = ["shared_store"]


def shared_store(config: Config, log: Log) -> "RedisStore | None":
    """Return the store of `config.state_url`, for its caller to run; None if there is no URL.

    Raises:
        StartError: the extra is not installed.
    """
    if config.state_url is None:
        return None
    try:
        from claude_openai.state.cipher import Cipher
        from claude_openai.state.redis import RedisStore
    except ImportError as error:
        raise StartError(
            f"--state-url needs coredis and cryptography, which are not installed: {error}",
            hint=f"install them with: {install_command('replicas')}",
        ) from error
    return RedisStore(parse_redis_url(config.state_url), config.state_password, Cipher(config.state_key), log)
