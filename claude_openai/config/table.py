"""The table of all settings, and the Config that flags and variables amount to.

`SETTINGS` is the one place where a setting has its flag, its variables, its default and its help: the parser, `--help`
and the README's table are made from it.
"""

import argparse
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from claude_openai.config.config import BACKENDS, CONFINE, LEAST, LOG_LEVELS, Config
from claude_openai.config.setting import Parser, Setting, with_flags
from claude_openai.config.values import (
    choice,
    command,
    folder,
    folders,
    key,
    key_in_file,
    modes,
    path,
    switch,
    text,
    whole,
    words,
)
from claude_openai.errors import ConfigError

__all__ = ["SETTINGS", "config_from", "ignored_variables"]

OUTPUT_DIR: Final = "~/.claude-openai/output"


def config_from(
    argv: Sequence[str], environ: Mapping[str, str], parser: argparse.ArgumentParser | None = None
) -> Config:
    """Build the one Config: flags win over variables, variables over defaults.

    Args:
        argv: flags.
        environ: variables.
        parser: takes the flags, for a --help of its own.

    Raises:
        ConfigError: one line that names the flag and the variable of a bad value.
        SystemExit: after --help and --version.
    """
    given = vars(with_flags(parser or Parser(), SETTINGS).parse_args(list(argv)))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        raw, source = setting.find(given.get(setting.name), environ)
        if raw is None and setting.of_command:
            with contextlib.suppress(ValueError):  # a user without a home folder
                values[setting.field] = setting.convert(setting.of_command)
        if raw is None:
            continue
        if setting.field in values:
            other = sources[setting.field]
            raise ConfigError(
                f"{setting.label}: {other} and {source} are both given", hint=f"drop {other} to use the file"
            )
        values[setting.field], sources[setting.field] = setting.read(raw, source), source
        if setting.name == "api_key_file":
            values["private_files"] = (path(raw).absolute(),)
    return Config(**values)


def ignored_variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """A sentence and a hint for each variable of a setting whose value was set for another program."""
    return [ignored for setting in SETTINGS for ignored in setting.ignored(environ)]


_PREFIX: Final = "CLAUDE_OPENAI_"


def _setting(
    name: str,
    convert: Callable[[str], Any],
    metavar: str,
    help_text: str,
    *others: str,
    variable: str | None = None,
    flag: str | None = None,
    sets: str | None = None,
    of_command: str = "",
    is_foreign: Callable[[str, str], bool] = lambda _name, _value: False,
) -> Setting:
    return Setting(
        name=name,
        field=sets or name,
        variables=(variable or _PREFIX + name.upper(), *others),
        convert=convert,
        metavar=metavar,
        help=help_text,
        default=of_command or next(f.default for f in fields(Config) if f.name == (sets or name)),
        flag="--" + name.replace("_", "-") if flag is None else flag,
        of_command=of_command,
        is_foreign=is_foreign,
    )


def _number(name: str, metavar: str, help_text: str) -> Setting:
    return _setting(name, whole(LEAST[name]), metavar, help_text)


def _is_service_link(_name: str, value: str) -> bool:
    """`tcp://10.0.0.1:8000`, which Kubernetes sets as NAME_PORT in every container beside a service of that name."""
    return "://" in value


def _is_debug_of_others(name: str, value: str) -> bool:
    """`DEBUG=express:*`: the name is used by much of Node, for the parts of a program that are to tell more."""
    if name != "DEBUG":
        return False
    try:
        switch(value)
    except ValueError:
        return True
    return False


SETTINGS: Final[tuple[Setting, ...]] = (
    _setting("host", str.strip, "HOST", "address to listen on; other than loopback needs a key"),
    _setting(
        "port",
        whole(LEAST["port"], 65535),
        "PORT",
        "port to listen on; 0 takes a free one",
        "PORT",
        is_foreign=_is_service_link,
    ),
    _setting("api_key", key, "KEY", "key that clients must send as a bearer token (none: no key is asked)", "API_KEY"),
    _setting("api_key_file", key_in_file, "PATH", "file that holds that key, in its place", sets="api_key"),
    _setting(
        "backend", choice(*BACKENDS), "NAME", "how Claude Code is driven: sdk, or cli: a process a turn, no tools"
    ),
    _setting("default_model", text, "MODEL", "what the model name 'claude' stands for", "CLAUDE_DEFAULT_MODEL"),
    _setting(
        "models",
        words,
        "NAMES",
        "model names to list, comma-separated, in place of the built-in ones; new ones go to Claude Code as they are",
        variable="CLAUDE_MODELS_OVERRIDE",
        flag="",
    ),
    _setting(
        "claude_command",
        command,
        "PATH",
        "the claude program to run (none: the one that comes with the SDK, or on PATH)",
        "CLAUDE_COMMAND",
    ),
    _setting(
        "pass_env",
        words,
        "NAMES",
        "more of the server's variables, comma-separated, that reach Claude Code in every turn",
    ),
    _number("max_concurrency", "N", "turns that run at the same time"),
    _number("max_queue_size", "N", "requests that may wait for a turn; more are answered 429"),
    _number("process_timeout_ms", "MS", "longest time of a turn without a sign of life from Claude, in ms; then 504"),
    _number("turn_timeout_ms", "MS", "longest time of a turn in all, in ms; then 504 (0: no limit)"),
    _number("drain_timeout_ms", "MS", "time for running turns to end when the server is stopped, in ms"),
    _number("max_idle_sessions", "N", "conversations kept open between requests, at about 200 MB each"),
    _number("session_ttl_ms", "MS", "how long a conversation is kept open for the next request, in ms"),
    _number("tool_result_ttl_ms", "MS", "how long one that called tools waits for their results, in ms"),
    _number("spares", "N", "claude processes started ahead for each of the last two models, at about 200 MB each"),
    _number("max_request_bytes", "BYTES", "largest request body, in bytes; more is answered 413"),
    _setting("allowed_hosts", words, "NAMES", "more names for the Host header, comma-separated, beside loopback"),
    _setting("cors_origins", words, "ORIGINS", "web origins that may call from a browser, comma-separated (none: no)"),
    _setting(
        "allowed_working_directory_prefixes",
        folders,
        "PATHS",
        "folders, comma-separated, that a request may let Claude's own tools work in (none: the current one)",
        variable="CLAUDE_OPENAI_ALLOWED_WORKING_DIR_PREFIXES",
    ),
    _setting("allowed_permission_modes", modes, "MODES", "permission modes, comma-separated, a request may ask for"),
    _setting("allow_bypass_permissions", switch, "", "let a request ask for bypassPermissions too"),
    _setting(
        "confine",
        choice(*CONFINE),
        "WHEN",
        "run turns with Bash in bubblewrap: auto, if it works here; require, and refuse them if not; off",
    ),
    _setting("show_tool_use", switch, "", "tell what Claude's own tools do as reasoning (--no-show-tool-use: do not)"),
    _setting("demo", switch, "", "try it without an account: answers come from a stand-in inside this process"),
    _setting("log", switch, "", "write a log, one JSON object a line (--no-log: none)"),
    _setting("log_level", choice(*LOG_LEVELS), "LEVEL", "least level to log: trace, debug, info, warning, error"),
    _setting("log_file", path, "PATH", "write the log to this file instead of standard output"),
    _setting(
        "debug",
        switch,
        "",
        "log at debug level, whatever --log-level says",
        "DEBUG",
        is_foreign=_is_debug_of_others,
    ),
    _setting("trace", switch, "", "log at trace level, whatever --log-level and --debug say"),
    _setting("trace_file", path, "PATH", "log at trace level to this file, whatever --log-file says"),
    _setting("background", switch, "", "start the server in the background, and return once it is ready"),
    _setting(
        "output_dir",
        folder,
        "PATH",
        "folder where the output of each run is captured for 7 days, 256 MiB at most (none: nowhere)",
        of_command=OUTPUT_DIR,
    ),
)
