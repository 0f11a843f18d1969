"""Every setting of the server, read once at the edge into one frozen `Config`.

`SETTINGS` is the one place where a setting has its flag, its variables, its default and its help: the parser, `--help`
and the README's table are made from it. Below this module nobody reads flags or the environment for the server's own
settings.
"""

import argparse
import contextlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from claude_openai.errors import ConfigError
from claude_openai.protocol.models import ModelCatalog
from claude_openai.setting_values import (
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
from claude_openai.settings import Parser, Setting, with_flags

__all__ = ["SETTINGS", "Config", "is_loopback"]

BACKENDS: Final = ("sdk", "cli")
LOG_LEVELS: Final = ("trace", "debug", "info", "warning", "error")
OUTPUT_DIR: Final = "~/.claude-openai/output"


@dataclass(frozen=True, slots=True)
class Config:
    """What the server is told to do. Every field has a default, so `Config(port=0)` serves a test.

    The fields of the second group have no flag: they are for harnesses and tests.

    Raises:
        ConfigError: on fields that cannot stand together, such as a public address without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    backend: str = "sdk"
    default_model: str = "sonnet"
    models: tuple[str, ...] = ()
    claude_command: str | None = None
    max_concurrency: int = 2
    max_queue_size: int = 100
    process_timeout_ms: int = 120_000
    drain_timeout_ms: int = 10_000
    max_idle_sessions: int = 4
    session_ttl_ms: int = 300_000
    tool_result_ttl_ms: int = 600_000
    spares: int = 1
    max_request_bytes: int = 32 * 1024 * 1024
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allowed_working_directory_prefixes: tuple[Path, ...] = ()
    allowed_permission_modes: tuple[str, ...] = ("acceptEdits", "auto", "default", "plan")
    allow_bypass_permissions: bool = False
    show_tool_use: bool = True
    demo: bool = False
    log: bool = True
    log_level: str = "debug"
    log_file: Path | None = None
    debug: bool = False
    trace: bool = False
    trace_file: Path | None = None
    background: bool = False
    # None here and a folder for the command: a server in somebody's test must not write into their home.
    output_dir: Path | None = None

    # Until Claude says something, or this long, the status line waits: so a failed start has its true status code.
    hold_status_ms: int = 10_000
    # OpenCode gives up after 300 s without a byte, common proxies after 60 s.
    comment_interval_ms: int = 15_000
    # A client that takes nothing for this long loses its run and its connection.
    stall_timeout_ms: int = 30_000
    # Longer than HTTP clients keep an idle connection, so that it is they who close it.
    idle_connection_ms: int = 75_000
    # Captured runs that are older, in ms since their last word, or the oldest of more bytes than this, are removed.
    output_max_age_ms: int = 7 * 24 * 3600 * 1000
    output_max_bytes: int = 256 * 1024 * 1024
    extra_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    # Bearer token for the control routes, beside the API key; without either there are none.
    control_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.host == "":
            raise ConfigError("--host / CLAUDE_OPENAI_HOST: '' is not a host name; use 127.0.0.1")
        if not is_loopback(self.host) and not self.api_key:
            raise ConfigError(
                f"--host / CLAUDE_OPENAI_HOST: {self.host!r} can be reached from other machines, and without a key "
                "anybody there could use your Claude account; set --api-key / CLAUDE_OPENAI_API_KEY, or bind 127.0.0.1"
            )
        if "*" in self.cors_origins and not self.api_key:
            raise ConfigError(
                "--cors-origins / CLAUDE_OPENAI_CORS_ORIGINS: '*' lets every web page in, so it needs a key: "
                "set --api-key / CLAUDE_OPENAI_API_KEY"
            )
        if "bypassPermissions" in self.allowed_permission_modes and not self.allow_bypass_permissions:
            raise ConfigError(
                "--allowed-permission-modes / CLAUDE_OPENAI_ALLOWED_PERMISSION_MODES: 'bypassPermissions' lets Claude "
                "do anything unasked, so it has a flag of its own: --allow-bypass-permissions"
            )
        self.catalog()

    @property
    def permission_modes(self) -> tuple[str, ...]:
        """The permission modes that a request may ask for."""
        bypass = ("bypassPermissions",) if self.allow_bypass_permissions else ()
        return tuple(dict.fromkeys((*self.allowed_permission_modes, *bypass)))

    def catalog(self) -> ModelCatalog:
        """The models this server offers.

        Raises:
            ConfigError: the default model, or a name of the override, cannot be used.
        """
        return ModelCatalog(default_model=self.default_model, override=self.models)

    @property
    def effective_log_level(self) -> str:
        if self.trace or self.trace_file is not None:
            return "trace"
        return "debug" if self.debug and self.log_level != "trace" else self.log_level

    @property
    def effective_log_file(self) -> Path | None:
        """None for standard output. There is one log: a trace file is where it goes, in place of the log file."""
        return self.log_file if self.trace_file is None else self.trace_file

    @classmethod
    def from_sources(
        cls, argv: Sequence[str], environ: Mapping[str, str], parser: argparse.ArgumentParser | None = None
    ) -> "Config":
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
                raise ConfigError(f"{setting.label}: {other} and {source} are both given; drop {other} to use the file")
            values[setting.field], sources[setting.field] = setting.read(raw, source), source
        return cls(**values)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    if host.rstrip(".").lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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
    )


SETTINGS: Final[tuple[Setting, ...]] = (
    _setting("host", str.strip, "HOST", "address to listen on; other than loopback needs a key"),
    _setting("port", whole(0, 65535), "PORT", "port to listen on; 0 takes a free one", "PORT"),
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
        "more model names to offer, comma-separated, passed on to Claude Code as they are",
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
    _setting("max_concurrency", whole(1), "N", "turns that run at the same time"),
    _setting("max_queue_size", whole(0), "N", "requests that may wait for a turn; more are answered 429"),
    _setting("process_timeout_ms", whole(1), "MS", "longest time for one turn, in ms; then 504"),
    _setting("drain_timeout_ms", whole(0), "MS", "time for running turns to end when the server is stopped, in ms"),
    _setting("max_idle_sessions", whole(0), "N", "conversations kept open between requests, at about 200 MB each"),
    _setting("session_ttl_ms", whole(1), "MS", "how long a conversation is kept open for the next request, in ms"),
    _setting("tool_result_ttl_ms", whole(1), "MS", "how long one that called tools waits for their results, in ms"),
    _setting("spares", whole(0), "N", "claude processes started ahead of need, at about 200 MB each"),
    _setting("max_request_bytes", whole(1), "BYTES", "largest request body, in bytes; more is answered 413"),
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
    _setting("show_tool_use", switch, "", "tell what Claude's own tools do as reasoning (--no-show-tool-use: do not)"),
    _setting("demo", switch, "", "try it without an account: answers come from a stand-in inside this process"),
    _setting("log", switch, "", "write a log, one JSON object a line (--no-log: none)"),
    _setting("log_level", choice(*LOG_LEVELS), "LEVEL", "least level to log: trace, debug, info, warning, error"),
    _setting("log_file", path, "PATH", "write the log to this file instead of standard output"),
    _setting("debug", switch, "", "log at debug level, whatever --log-level says", "DEBUG"),
    _setting("trace", switch, "", "log at trace level, whatever --log-level and --debug say"),
    _setting("trace_file", path, "PATH", "log at trace level to this file, whatever --log-file says"),
    _setting("background", switch, "", "run on after the shell: wait until it is healthy, say where it is, and return"),
    _setting(
        "output_dir",
        folder,
        "PATH",
        "folder where the output of each run is captured for 7 days, 256 MiB at most (none: nowhere)",
        of_command=OUTPUT_DIR,
    ),
)
