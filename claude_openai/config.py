"""Every setting of the server, read once at the edge into one frozen `Config`.

`SETTINGS` is the one place where a setting has its flag, its variables, its default and its help: the parser, `--help`
and the README's table are made from it. Below this module nobody reads flags or the environment for the server's own
settings.
"""

import argparse
import contextlib
import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, NoReturn

from claude_openai.errors import ConfigError
from claude_openai.protocol.agent import PERMISSION_MODES
from claude_openai.protocol.models import ModelCatalog

__all__ = ["SETTINGS", "Config", "Parser", "Setting", "is_loopback"]

BACKENDS: Final = ("sdk", "cli")
LOG_LEVELS: Final = ("trace", "debug", "info", "warning", "error")
KEY_FILE_BYTES: Final = 8192
OUTPUT_DIR: Final = "~/.claude-openai/output"
NO_FOLDER: Final = "none"


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
        given = vars(_with_flags(parser or Parser()).parse_args(list(argv)))
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


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: where it comes from, how it is read, what its help says.

    Attributes:
        name: its own name, from which the flag and the variable are made.
        field: the field of Config it sets. Two settings for one field are two ways to give it, and exclude each other.
        variables: environment variables, the first that is set and not empty counts.
        convert: text to value; raises ValueError with what would be right.
        metavar: shown in --help; "" for a switch.
        flag: the flag, "" if there is none.
        of_command: the text that the command goes by if none is given, "" if it has no default but Config's.
    """

    name: str
    field: str
    variables: tuple[str, ...]
    convert: Callable[[str], Any]
    metavar: str
    help: str
    flag: str = ""
    of_command: str = ""

    @property
    def default(self) -> Any:
        return self.of_command or next(f.default for f in fields(Config) if f.name == self.field)

    @property
    def shown_default(self) -> str:
        """The default as one would type it, "" if there is none."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return "" if self.default is None else str(self.default)

    @property
    def label(self) -> str:
        return " / ".join(([self.flag] if self.flag else []) + [" or ".join(self.variables)])

    def find(self, flag_value: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
        """The text given for this setting and the flag or variable it came from; (None, "") if it was not given."""
        if flag_value is not None:
            return flag_value, self.flag
        return next(((environ[name], name) for name in self.variables if environ.get(name)), (None, ""))

    def read(self, raw: str, source: str) -> Any:
        try:
            return self.convert(raw)
        except ValueError as error:
            shown = "the value given" if self.name == "api_key" else repr(raw)
            raise ConfigError(f"{self.label}: {shown} (from {source}) {error}") from None


def _whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    bounds = f"from {low} to {high}" if high < math.inf else f"of at least {low}"

    def convert(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"is not a whole number {bounds}")
        return value

    return convert


def _choice(*allowed: str) -> Callable[[str], str]:
    def convert(raw: str) -> str:
        if raw.lower() not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}")
        return raw.lower()

    return convert


def _switch(raw: str) -> bool:
    if raw.lower() in ("1", "true", "yes", "on"):
        return True
    if raw.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither yes (1, true, yes, on) nor no (0, false, no, off)")


def _words(raw: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def _modes(raw: str) -> tuple[str, ...]:
    unknown = [word for word in _words(raw) if word not in PERMISSION_MODES]
    if unknown:
        raise ValueError(f"has {unknown[0]!r}, which is not one of {', '.join(PERMISSION_MODES)}")
    return _words(raw)


def _folders(raw: str) -> tuple[Path, ...]:
    return tuple(_path(word).absolute() for word in _words(_text(raw)))


def _text(raw: str) -> str:
    if not raw.strip():
        raise ValueError("is empty")
    return raw


def _key(raw: str) -> str:
    _text(raw)
    if not raw.isascii() or not raw.isprintable() or " " in raw:
        raise ValueError("cannot be sent in an Authorization header: use printable ASCII without spaces")
    return raw


def _key_in_file(raw: str) -> str:
    try:
        with _path(raw).open("rb") as file:
            content = file.read(KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > KEY_FILE_BYTES:
        raise ValueError(f"is larger than {KEY_FILE_BYTES} bytes: that is no key")
    try:
        return _key(content.decode(errors="replace").removesuffix("\n").removesuffix("\r"))
    except ValueError as error:
        raise ValueError(f"is read, but the key in it {error}") from None


def _path(raw: str) -> Path:
    try:
        return Path(_text(raw)).expanduser()
    except RuntimeError:
        raise ValueError("names the home folder of somebody who is not known here") from None


def _folder(raw: str) -> Path | None:
    return None if raw.strip().lower() == NO_FOLDER else _path(raw).absolute()


def _command(raw: str) -> str:
    _path(raw)
    return raw


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
        flag="--" + name.replace("_", "-") if flag is None else flag,
        of_command=of_command,
    )


SETTINGS: Final[tuple[Setting, ...]] = (
    _setting("host", str.strip, "HOST", "address to listen on; other than loopback needs a key"),
    _setting("port", _whole(0, 65535), "PORT", "port to listen on; 0 takes a free one", "PORT"),
    _setting("api_key", _key, "KEY", "key that clients must send as a bearer token (none: no key is asked)", "API_KEY"),
    _setting("api_key_file", _key_in_file, "PATH", "file that holds that key, in its place", sets="api_key"),
    _setting(
        "backend", _choice(*BACKENDS), "NAME", "how Claude Code is driven: sdk, or cli: a process a turn, no tools"
    ),
    _setting("default_model", _text, "MODEL", "what the model name 'claude' stands for", "CLAUDE_DEFAULT_MODEL"),
    _setting(
        "models",
        _words,
        "NAMES",
        "more model names to offer, comma-separated, passed on to Claude Code as they are",
        variable="CLAUDE_MODELS_OVERRIDE",
        flag="",
    ),
    _setting(
        "claude_command",
        _command,
        "PATH",
        "the claude program to run (none: the one that comes with the SDK, or on PATH)",
        "CLAUDE_COMMAND",
    ),
    _setting("max_concurrency", _whole(1), "N", "turns that run at the same time"),
    _setting("max_queue_size", _whole(0), "N", "requests that may wait for a turn; more are answered 429"),
    _setting("process_timeout_ms", _whole(1), "MS", "longest time for one turn, in ms; then 504"),
    _setting("drain_timeout_ms", _whole(0), "MS", "time for running turns to end when the server is stopped, in ms"),
    _setting("max_idle_sessions", _whole(0), "N", "conversations kept open between requests, at about 200 MB each"),
    _setting("session_ttl_ms", _whole(1), "MS", "how long a conversation is kept open for the next request, in ms"),
    _setting("tool_result_ttl_ms", _whole(1), "MS", "how long one that called tools waits for their results, in ms"),
    _setting("spares", _whole(0), "N", "claude processes started ahead of need, at about 200 MB each"),
    _setting("max_request_bytes", _whole(1), "BYTES", "largest request body, in bytes; more is answered 413"),
    _setting("allowed_hosts", _words, "NAMES", "more names for the Host header, comma-separated, beside loopback"),
    _setting("cors_origins", _words, "ORIGINS", "web origins that may call from a browser, comma-separated (none: no)"),
    _setting(
        "allowed_working_directory_prefixes",
        _folders,
        "PATHS",
        "folders, comma-separated, that a request may let Claude's own tools work in (none: the current one)",
        variable="CLAUDE_OPENAI_ALLOWED_WORKING_DIR_PREFIXES",
    ),
    _setting("allowed_permission_modes", _modes, "MODES", "permission modes, comma-separated, a request may ask for"),
    _setting("allow_bypass_permissions", _switch, "", "let a request ask for bypassPermissions too"),
    _setting("show_tool_use", _switch, "", "tell what Claude's own tools do as reasoning (--no-show-tool-use: do not)"),
    _setting("demo", _switch, "", "try it without an account: answers come from a stand-in inside this process"),
    _setting("log", _switch, "", "write a log, one JSON object a line (--no-log: none)"),
    _setting("log_level", _choice(*LOG_LEVELS), "LEVEL", "least level to log: trace, debug, info, warning, error"),
    _setting("log_file", _path, "PATH", "write the log to this file instead of standard output"),
    _setting("debug", _switch, "", "log at debug level, whatever --log-level says", "DEBUG"),
    _setting("trace", _switch, "", "log at trace level, whatever --log-level and --debug say"),
    _setting("trace_file", _path, "PATH", "log at trace level to this file, whatever --log-file says"),
    _setting(
        "background", _switch, "", "run on after the shell: wait until it is healthy, say where it is, and return"
    ),
    _setting(
        "output_dir",
        _folder,
        "PATH",
        "folder where the output of each run is captured for 7 days, 256 MiB at most (none: nowhere)",
        of_command=OUTPUT_DIR,
    ),
)


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are a ConfigError of one line."""

    def __init__(
        self,
        prog: str = "claude-openai",
        description: str = "A local server that lets any OpenAI client use Claude Code.",
        **others: Any,
    ) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, **others)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{' '.join(message.split())} ({self.prog} --help lists the flags)")


def _with_flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    from claude_openai import __version__

    parser.add_argument("--version", action="version", version=f"claude-openai {__version__}")
    for setting in SETTINGS:
        if setting.flag:
            _add_flag(parser, setting)
    return parser


def _add_flag(parser: argparse.ArgumentParser, setting: Setting) -> None:
    shown = f"; default {setting.shown_default}" if setting.metavar and setting.shown_default else ""
    text = f"{setting.help} [{' or '.join(setting.variables)}{shown}]".replace("%", "%%")
    if setting.metavar:
        parser.add_argument(setting.flag, dest=setting.name, metavar=setting.metavar, help=text)
    else:
        no_flag = "--no-" + setting.flag.removeprefix("--")
        parser.add_argument(setting.flag, dest=setting.name, action="store_const", const="1", help=text)
        parser.add_argument(no_flag, dest=setting.name, action="store_const", const="0", help=argparse.SUPPRESS)
