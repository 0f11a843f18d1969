"""Flags of commands that name a store of the server."""

import argparse
from collections.abc import Mapping
from typing import Any, Final

from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser

__all__ = ["add_redis_flags", "add_store_flag", "flag_of", "redis_in", "value_in"]

_SETTINGS: Final = {setting.name: setting for setting in SETTINGS}


def add_store_flag(parser: Parser, name: str, help_text: str) -> None:
    """Add the flag of a setting."""
    setting = _SETTINGS[name]
    parser.add_argument(setting.flag, dest=name, metavar=setting.metavar, help=help_text)


def add_redis_flags(parser: Parser, help_text: str) -> None:
    """Add the flags of Redis and its password."""
    add_store_flag(parser, "state_url", help_text)
    add_store_flag(parser, "state_password_file", _SETTINGS["state_password_file"].help)


def flag_of(name: str) -> str:
    return _SETTINGS[name].flag


def value_in(name: str, options: argparse.Namespace, environ: Mapping[str, str]) -> Any:
    """Return the value of a setting in the flags of a command or in the variables; None if it is not set.

    Raises:
        ConfigError: it is invalid.
    """
    raw, source = _SETTINGS[name].find(getattr(options, name), environ)
    return None if raw is None else _SETTINGS[name].read(raw, source)


def redis_in(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, str | None] | None:
    """Return the URL of Redis and its password; None if there is no Redis.

    Raises:
        ConfigError: one of them is invalid.
    """
    url = value_in("state_url", options, environ)
    return None if url is None else (url, value_in("state_password_file", options, environ))
