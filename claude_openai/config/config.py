"""Every setting of the server as one frozen `Config`, checked as a whole.

The other packages get settings from a `Config`, never from flags or the environment; `table` builds it from those.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from os.path import realpath
from pathlib import Path

from claude_openai.config.addresses import Address, TcpAddress, parse_address
from claude_openai.config.field_check import check_field
from claude_openai.config.values import address, header_text, key, mode, proxy, redis_url
from claude_openai.errors import ConfigError
from claude_openai.protocol.wire.models import ModelCatalog

__all__ = ["Config", "is_loopback", "local_url"]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a server. Every field has a default: a test can use `Config(port=0)`.

    The fields of the second group have no flag; they are for test harnesses.

    Raises:
        ConfigError: a value is invalid, or values exclude each other, such as a public address without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    # Addresses in place of host and port, in the form of `parse_address`.
    listen: tuple[str, ...] = ()
    unix_mode: str = "0600"
    unix_group: str | None = None
    api_key: str | None = field(default=None, repr=False)
    keys_file: Path | None = None
    backend: str = "sdk"
    default_model: str = "sonnet"
    models: tuple[str, ...] = ()
    claude_command: str | None = None
    pass_env: tuple[str, ...] = ()
    max_concurrency: int = 2
    max_queue_size: int = 100
    max_background: int = 20
    process_timeout_ms: int = 120_000
    turn_timeout_ms: int = 0
    drain_timeout_ms: int = 10_000
    lame_duck_ms: int = 0
    max_idle_sessions: int = 4
    session_ttl_ms: int = 300_000
    tool_result_ttl_ms: int = 600_000
    spares: int = 1
    max_request_bytes: int = 32 * 1024 * 1024
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    replica: str | None = None
    allowed_working_directory_prefixes: tuple[Path, ...] = ()
    allowed_permission_modes: tuple[str, ...] = ("acceptEdits", "auto", "default", "plan")
    allow_bypass_permissions: bool = False
    confine: str = "auto"
    show_tool_use: bool = True
    web_search: bool = False
    store: bool = True
    responses_file: Path | None = None
    responses_kept_hours: int = 720
    # Redis that replicas share, without its password, in the form of `parse_redis_url`.
    state_url: str | None = None
    state_password: str | None = field(default=None, repr=False)
    state_key: str | None = field(default=None, repr=False)
    demo: bool = False
    # None: a log is written if it has a file. The command defaults to yes; a library does not write to standard output.
    log: bool | None = None
    log_format: str = "auto"
    log_level: str = "debug"
    log_file: Path | None = None
    debug: bool = False
    trace: bool = False
    trace_file: Path | None = None
    background: bool = False
    # The command defaults to a folder. None here, so that a server in a test does not write to the user's home.
    output_dir: Path | None = None
    # The same: None keeps the figures of usage in memory.
    usage_file: Path | None = None
    max_cost_per_day: float | None = None
    stop_at_utilization: float | None = None
    record: Path | None = None
    record_times: bool = False
    otel: bool = False

    # How long a stream's status line waits for the first event, so that a failed start gets its true status.
    hold_status_ms: int = 10_000
    # OpenCode gives up after 300 s without a byte, common proxies after 60 s.
    comment_interval_ms: int = 15_000
    # A client that reads nothing for this long loses its run and its connection.
    stall_timeout_ms: int = 30_000
    # Longer than HTTP clients keep an idle connection, so that the client closes it.
    idle_connection_ms: int = 75_000
    # A run's file is removed this long after its last write; the oldest ones earlier if all files exceed the bytes.
    output_max_age_ms: int = 7 * 24 * 3600 * 1000
    output_max_bytes: int = 256 * 1024 * 1024
    extra_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    # Bearer token for the control routes, besides the API key. Without either there are no control routes.
    control_key: str | None = field(default=None, repr=False)
    # Files that contain keys; Claude's own tools cannot read them.
    private_files: tuple[Path, ...] = ()
    # Whether a log in text is coloured, if it is written to a terminal.
    log_colours: bool = False
    # Whether the process has nothing but this server: its log then gets the records of all loggers.
    owns_process: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not each.default:
                check_field(each, value)
        if any(not name or "=" in name for name in self.extra_env):
            raise ConfigError("invalid extra_env: a name that is empty or contains '='; expected names of variables")
        for name in ("api_key", "control_key"):
            if getattr(self, name) is not None:
                _check(name, key, getattr(self, name))
        _check("unix_mode", mode, self.unix_mode)
        for text in self.listen:
            _check("listen", address, text)
        for text in self.trusted_proxies:
            _check("trusted_proxies", proxy, text)
        if self.host == "":
            raise ConfigError(
                "--host / CLAUDE_OPENAI_HOST: invalid host: ''; expected a host name or address", hint="use 127.0.0.1"
            )
        label = "--listen / CLAUDE_OPENAI_LISTEN" if self.listen else "--host / CLAUDE_OPENAI_HOST"
        public = next((host for host in self.hosts if not is_loopback(host)), None)
        if public is not None and not self.needs_key:
            raise ConfigError(
                f"{label}: other machines can reach {public!r}, and without a key their users could use your Claude "
                "account",
                hint="set --api-key-file or CLAUDE_OPENAI_API_KEY, or bind 127.0.0.1",
            )
        if "*" in self.cors_origins and not self.needs_key:
            raise ConfigError(
                "--cors-origins / CLAUDE_OPENAI_CORS_ORIGINS: '*' allows every web page, which requires a key",
                hint="set --api-key-file or CLAUDE_OPENAI_API_KEY",
            )
        if "bypassPermissions" in self.allowed_permission_modes and not self.allow_bypass_permissions:
            raise ConfigError(
                "--allowed-permission-modes / CLAUDE_OPENAI_ALLOWED_PERMISSION_MODES: 'bypassPermissions' cannot be "
                "allowed here, because it lets Claude do anything without asking",
                hint="allow it with --allow-bypass-permissions",
            )
        if self.state_url is not None:
            _check("state_url", redis_url, self.state_url)
            if self.responses_file is not None:
                raise ConfigError(
                    "--state-url / CLAUDE_OPENAI_STATE_URL: --responses-file and --state-url exclude each other",
                    hint="omit --responses-file to keep the responses in Redis",
                )
        responses, usage = self.responses_file, self.usage_file
        if responses is not None and usage is not None and realpath(responses) == realpath(usage):
            raise ConfigError(
                f"--responses-file / CLAUDE_OPENAI_RESPONSES_FILE: {str(responses)!r} is also the file of "
                f"--usage-file, {str(usage)!r}; expected a file of its own",
                hint="choose another file for one of them",
            )
        if self.replica is not None:
            _check("replica", header_text, self.replica)
        self.catalog()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses to listen on."""
        return tuple(map(parse_address, self.listen)) or (TcpAddress(self.host, self.port),)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts of the addresses to listen on."""
        return tuple(each.host for each in self.addresses if isinstance(each, TcpAddress))

    @property
    def needs_key(self) -> bool:
        """Return whether clients must send a key."""
        return self.api_key is not None or self.keys_file is not None

    @property
    def permission_modes(self) -> tuple[str, ...]:
        """Return the permission modes that a request may select."""
        bypass = ("bypassPermissions",) if self.allow_bypass_permissions else ()
        return tuple(dict.fromkeys((*self.allowed_permission_modes, *bypass)))

    def catalog(self) -> ModelCatalog:
        """Return the models that this server offers.

        Raises:
            ConfigError: the default model, or a name of `models`, is invalid.
        """
        return ModelCatalog(default_model=self.default_model, override=self.models)

    @property
    def is_logged(self) -> bool:
        return self.effective_log_file is not None if self.log is None else self.log

    @property
    def effective_log_level(self) -> str:
        if self.trace or self.trace_file is not None:
            return "trace"
        return "debug" if self.debug and self.log_level != "trace" else self.log_level

    @property
    def effective_log_format(self) -> str:
        """The format of the log. With --debug or --trace `auto` is JSON, because text has no debug records."""
        is_detailed = self.debug or self.effective_log_level == "trace"
        return "json" if self.log_format == "auto" and is_detailed else self.log_format

    @property
    def effective_log_file(self) -> Path | None:
        """The file of the log, None for standard output. There is only one log: a trace file replaces the log file."""
        return self.log_file if self.trace_file is None else self.trace_file


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reachable only from this machine."""
    if host.rstrip(".").lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def local_url(host: str, port: int) -> str:
    """Return the base URL by which this machine reaches a server that listens on the host."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _check(name: str, convert: Callable[[str], str], value: str) -> None:
    try:
        convert(value)
    except ValueError as error:
        shown = "" if name.endswith("_key") or name == "state_url" else f": {value!r}"
        raise ConfigError(f"{name}{shown} {error}") from None
