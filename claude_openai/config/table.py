"""The table of all settings; builds a Config from flags and environment variables.

`SETTINGS` defines flag, variables, default, group and help of each setting. The parser, the help texts, the man page,
the completion scripts and the documentation are generated from it.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from claude_openai.config.config import Config
from claude_openai.config.field_check import BACKENDS, CONFINE, LEAST, LOG_FORMATS, LOG_LEVELS, MOST
from claude_openai.config.setting import HELP_ALL, Parser, Setting, with_flags
from claude_openai.config.values import (
    above_zero,
    address,
    choice,
    command,
    file,
    folder,
    folders,
    header_text,
    key,
    key_in_file,
    mode,
    modes,
    path,
    proxy,
    redis_url,
    several,
    state_key_in_file,
    switch,
    text,
    whole,
    words,
)
from claude_openai.errors import ConfigError

__all__ = ["SETTINGS", "config_from", "ignored_variables"]

OUTPUT_DIR: Final = "~/.claude-openai/output"
USAGE_FILE: Final = "~/.claude-openai/usage.db"


def config_from(argv: Sequence[str], environ: Mapping[str, str], parser: Parser | None = None) -> Config:
    """Build the Config. Flags override variables, variables override defaults.

    Args:
        argv: flags.
        environ: environment variables.
        parser: the flags of the table are added to it; it may have flags and a help text of its own.

    Raises:
        ConfigError: a value is invalid; one line that names its flag and variable.
        SystemExit: after a flag that prints something, such as --help.
    """
    parsed = vars(with_flags(parser or Parser(), SETTINGS, every=HELP_ALL in argv).parse_args(list(argv)))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        raw, source = setting.find(parsed.get(setting.name), environ)
        if raw is None and setting.of_command:
            with contextlib.suppress(ValueError):  # the user has no home folder
                values[setting.field] = setting.convert(setting.of_command)
        if raw is None:
            continue
        if setting.field in values:
            other = sources[setting.field]
            raise ConfigError(
                f"{setting.label}: {other} and {source} exclude each other", hint=f"omit {other} to use the file"
            )
        values[setting.field], sources[setting.field] = setting.read(raw, source), source
        if setting.convert in (key_in_file, state_key_in_file):
            values["private_files"] = (*values.get("private_files", ()), path(raw).absolute())
    return Config(**values)


def ignored_variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a sentence and a hint for each variable of a setting that was set for another program."""
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
    choices: tuple[str, ...] = (),
    is_common: bool = False,
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
        choices=choices,
        is_common=is_common,
    )


def _number(name: str, metavar: str, help_text: str) -> Setting:
    return _setting(name, whole(LEAST[name]), metavar, help_text)


def _choice(name: str, choices: tuple[str, ...], metavar: str, help_text: str, *, is_common: bool = False) -> Setting:
    return _setting(name, choice(*choices), metavar, help_text, choices=choices, is_common=is_common)


def _group(title: str, *settings: Setting) -> tuple[Setting, ...]:
    return tuple(replace(setting, group=title) for setting in settings)


def _is_service_link(_name: str, value: str) -> bool:
    """Whether a value is like `tcp://10.0.0.1:8000`, which Kubernetes sets as NAME_PORT for each service."""
    return "://" in value


def _is_debug_of_others(name: str, value: str) -> bool:
    """Whether a variable is like `DEBUG=express:*`, which selects the modules of Node programs that log."""
    if name != "DEBUG":
        return False
    try:
        switch(value)
    except ValueError:
        return True
    return False


SETTINGS: Final[tuple[Setting, ...]] = (
    *_group(
        "network",
        _setting(
            "host",
            str.strip,
            "HOST",
            "address to listen on; other than on loopback an API key is required",
            is_common=True,
        ),
        _setting(
            "port",
            whole(LEAST["port"], MOST["port"]),
            "PORT",
            "port to listen on; 0: any free port",
            "PORT",
            is_foreign=_is_service_link,
            is_common=True,
        ),
        _setting(
            "listen",
            several(address),
            "ADDRESSES",
            "comma-separated addresses to listen on in place of --host and --port: HOST:PORT, [IPV6]:PORT or unix:PATH",
        ),
        _setting("unix_mode", mode, "MODE", "mode of the file of a Unix socket"),
        _setting("unix_group", text, "GROUP", "group of the file of a Unix socket; by default that of the server"),
        _setting(
            "api_key",
            key,
            "KEY",
            "key that clients must send as a bearer token; without it, none is required",
            "API_KEY",
        ),
        _setting("api_key_file", key_in_file, "PATH", "file to read the API key from", sets="api_key", is_common=True),
        _setting(
            "keys_file",
            file,
            "PATH",
            "file of named keys with limits, for clients besides those with --api-key; `claude-openai key` writes it",
        ),
        _setting(
            "allowed_hosts",
            words,
            "NAMES",
            "comma-separated names to accept in the Host header besides loopback names",
        ),
        _setting(
            "cors_origins",
            words,
            "ORIGINS",
            "comma-separated web origins whose pages may call the server in a browser",
        ),
        _setting(
            "trusted_proxies",
            several(proxy),
            "ADDRESSES",
            "comma-separated addresses or networks of proxies ('unix': clients of a Unix socket) whose X-Forwarded-For "
            "gives the client's address in the log",
        ),
        _setting(
            "replica",
            header_text,
            "NAME",
            "name of this server behind a load balancer, for the header x-claude-openai-replica of each answer; by "
            "default there is no such header",
        ),
    ),
    *_group(
        "Claude Code",
        _setting(
            "demo",
            switch,
            "",
            "answer from a built-in stand-in; needs no account",
            is_common=True,
        ),
        _choice(
            "backend",
            BACKENDS,
            "NAME",
            "how Claude Code is run: sdk (the Agent SDK) or cli (a new process for each turn, without tools)",
        ),
        _setting(
            "default_model",
            text,
            "MODEL",
            "model of requests for 'claude'",
            "CLAUDE_DEFAULT_MODEL",
            is_common=True,
        ),
        _setting(
            "models",
            words,
            "NAMES",
            "comma-separated model names to offer instead of the ones from Claude Code; unknown names are passed on "
            "unchanged",
            variable="CLAUDE_MODELS_OVERRIDE",
            flag="",
        ),
        _setting(
            "claude_command",
            command,
            "PATH",
            "the claude program to run; by default the program bundled with the SDK, or else the one on PATH",
            "CLAUDE_COMMAND",
        ),
        _setting(
            "pass_env",
            words,
            "NAMES",
            "comma-separated names of environment variables to pass on to Claude Code in every turn",
        ),
    ),
    *_group(
        "limits",
        _number("max_concurrency", "N", "maximum number of turns that run at the same time"),
        _number("max_queue_size", "N", "maximum number of requests that wait for a turn; further ones get a 429"),
        _number(
            "max_background",
            "N",
            "maximum number of responses that run or wait in the background; further ones get a 429",
        ),
        _number(
            "process_timeout_ms",
            "MS",
            "longest silence of Claude Code in a turn, in milliseconds; after it the answer is a 504",
        ),
        _number(
            "turn_timeout_ms",
            "MS",
            "longest duration of a turn, in milliseconds; after it the answer is a 504; 0: no limit",
        ),
        _setting(
            "max_cost_per_day",
            above_zero(),
            "USD",
            "dollars of a local day after which turns get a 429 (for a subscription, at list price); by default no "
            "limit",
        ),
        _setting(
            "stop_at_utilization",
            above_zero(1),
            "FRACTION",
            "used share of a window of the plan, such as 0.9, at which turns get a 429 until it resets; by default no "
            "limit",
        ),
        _number("drain_timeout_ms", "MS", "time that a stopping server waits for running turns, in milliseconds"),
        _number(
            "lame_duck_ms",
            "MS",
            "time before that in which a stopping server is not ready but takes new turns, in milliseconds",
        ),
        _number("max_request_bytes", "BYTES", "largest request body, in bytes; a larger one gets a 413"),
    ),
    *_group(
        "conversations",
        _number("max_idle_sessions", "N", "maximum number of idle conversations kept open, at about 200 MB each"),
        _number("session_ttl_ms", "MS", "time that an idle conversation is kept open, in milliseconds"),
        _number("tool_result_ttl_ms", "MS", "time that a conversation waits for the results of tools, in milliseconds"),
        _setting(
            "store",
            switch,
            "",
            "keep responses in memory until an hour after their last use, for previous_response_id; a request may turn "
            "it off with 'store': false",
        ),
        _setting(
            "responses_file",
            file,
            "PATH",
            "also keep these responses, prompts included, in this file, for the server after a restart and for other "
            "servers that use the file",
        ),
        _number(
            "responses_kept_hours",
            "HOURS",
            "with --responses-file or --state-url, how long a response is kept after its last use",
        ),
        _setting(
            "state_url",
            redis_url,
            "URL",
            "Redis or Valkey that replicas share, for stored responses and usage: redis://HOST:PORT/DB, rediss://... "
            "(TLS) or unix:///PATH?db=DB; needs the extra 'replicas'",
        ),
        _setting(
            "state_password_file", key_in_file, "PATH", "file to read the password of Redis from", sets="state_password"
        ),
        _setting(
            "state_key_file",
            state_key_in_file,
            "PATH",
            "file to read the key from that encrypts the responses in Redis, the same for all replicas; by default "
            "they are not encrypted",
            sets="state_key",
        ),
        _number(
            "spares",
            "N",
            "number of claude processes to start ahead for each of the last two models, at about 200 MB each; unless "
            "0, one more has the tools of the last new conversations",
        ),
    ),
    *_group(
        "Claude's own tools",
        _setting(
            "allowed_working_directory_prefixes",
            folders,
            "PATHS",
            "comma-separated folders where a request may let Claude's own tools work; by default the current folder",
            variable="CLAUDE_OPENAI_ALLOWED_WORKING_DIR_PREFIXES",
        ),
        _setting(
            "allowed_permission_modes", modes, "MODES", "comma-separated permission modes that a request may select"
        ),
        _setting(
            "allow_bypass_permissions", switch, "", "allow requests to select the permission mode bypassPermissions"
        ),
        _choice(
            "confine",
            CONFINE,
            "WHEN",
            "run turns with Bash inside bubblewrap: auto (if bubblewrap works), require (otherwise refuse them) or off",
        ),
        _setting("show_tool_use", switch, "", "report each use of Claude's own tools as reasoning text"),
        _setting(
            "web_search",
            switch,
            "",
            "let requests have Claude search the web (web_search_options, tools of type web_search), which is billed; "
            "named keys need a permission of their own too",
        ),
    ),
    *_group(
        "log",
        _setting("log", switch, "", "write a log", of_command="yes"),
        _choice(
            "log_format",
            LOG_FORMATS,
            "FORMAT",
            "text (a line per request, and warnings), json (one object per line) or auto (text on a terminal, unless "
            "--debug or --trace is set, else json)",
        ),
        _choice(
            "log_level",
            LOG_LEVELS,
            "LEVEL",
            "lowest level to log: trace, debug, info, warning or error",
            is_common=True,
        ),
        _setting("log_file", path, "PATH", "log to this file instead of standard output", is_common=True),
        _setting(
            "debug",
            switch,
            "",
            "log at level debug, regardless of --log-level",
            "DEBUG",
            is_foreign=_is_debug_of_others,
        ),
        _setting("trace", switch, "", "log at level trace, regardless of --log-level and --debug"),
        _setting("trace_file", path, "PATH", "log to this file at level trace, regardless of --log-file"),
    ),
    *_group(
        "server",
        _setting("background", switch, "", "start in the background, return once it is ready", is_common=True),
        _setting(
            "output_dir",
            folder,
            "PATH",
            "folder for the output of runs, which is kept for 7 days, 256 MiB at most; 'none': keep nothing",
            of_command=OUTPUT_DIR,
        ),
        _setting(
            "usage_file",
            folder,
            "PATH",
            "file for tokens and dollars by day and model, kept for a year; 'none': keep them in memory only",
            of_command=USAGE_FILE,
        ),
        _setting(
            "record",
            file,
            "FILE",
            "record requests and Claude's answers to this file, a cassette for tests; an existing one is continued",
        ),
        _setting("record_times", switch, "", "with --record, also record the time of each piece of an answer"),
        _setting(
            "otel",
            switch,
            "",
            "send an OpenTelemetry span for each run, to the collector that the variables OTEL_EXPORTER_OTLP_* name; "
            "needs the extra 'otel'",
        ),
    ),
)
