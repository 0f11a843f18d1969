"""Configuration: read once, at the edge, into one frozen `Config`."""

from claude_openai.config.config import Config, is_loopback, local_url
from claude_openai.config.field_check import BACKENDS
from claude_openai.config.table import SETTINGS, config_from, ignored_variables

__all__ = ["BACKENDS", "SETTINGS", "Config", "config_from", "ignored_variables", "is_loopback", "local_url"]
