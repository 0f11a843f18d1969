"""`service`: print a unit for systemd or launchd. The user installs it, and sees which files are written.

The service is a server in the foreground, so that the service manager sees it start, exit and fail. Its log goes to the
file that `claude-openai logs` reads. Keys are in a file of the user, never in the unit.
"""

import ipaddress
import os
import plistlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from claude_openai.commands import command_parser, has_flag, without_flags
from claude_openai.commands.instance.processes import BEYOND_DRAIN_S
from claude_openai.commands.state.paths import ENVIRONMENT_FILE, LOG_FILE, STDERR_FILE, home_folder
from claude_openai.config import SETTINGS, Config, config_from, is_loopback
from claude_openai.config.addresses import Address, UnixAddress
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError

__all__ = ["parser", "run"]

# How much later than `stop` the service manager kills the server.
KILL_LATER_S: Final = 5
LABEL: Final = "local.claude-openai"

# A service starts in the home folder. Claude's own tools run unattended, so they get this folder in it instead.
WORKSPACE: Final = "workspace"
PREFIXES: Final = next(setting for setting in SETTINGS if setting.name == "allowed_working_directory_prefixes")

SYSTEMD: Final = """\
# claude-openai for one user. It needs no root:
#   mkdir -p ~/.config/systemd/user
#   claude-openai service --print --systemd > ~/.config/systemd/user/claude-openai.service
#   systemctl --user daemon-reload
#   systemctl --user enable --now claude-openai
# To keep it running while you are not logged in:  loginctl enable-linger
# To remove it:
#   systemctl --user disable --now claude-openai
#   rm ~/.config/systemd/user/claude-openai.service
# Keys and other variables, such as CLAUDE_OPENAI_API_KEY=..., go into ~/.claude-openai/{file} (mode 0600).
# Claude's own tools, for requests that ask for them, work in ~/.claude-openai/{workspace} and nowhere else, unless
# {prefixes} names other folders there, or the flag does here.

[Unit]
Description=claude-openai: any OpenAI client uses Claude Code

[Service]
Type=exec
{prepare}ExecStart={command}
{environment}# Overrides the variables above.
EnvironmentFile=-%h/.claude-openai/{file}
WorkingDirectory=%h
Restart=on-failure
RestartSec=2
# Do not restart after a bad flag or variable.
RestartPreventExitStatus=2
# SIGTERM goes to the server alone, which lets running turns end. Then all remaining processes are killed.
KillMode=mixed
TimeoutStopSec={stop_s}
# No PrivateTmp: `claude-openai status` and `stop` must see the server's files in the temporary folder.

[Install]
WantedBy=default.target
"""

SYSTEMD_SOCKET: Final = """\
# The sockets of claude-openai. systemd holds them: while the server restarts, connections wait and none is refused.
# Beside the unit of the service:
#   claude-openai service --print --systemd --socket > ~/.config/systemd/user/claude-openai.socket
#   systemctl --user daemon-reload
#   systemctl --user stop claude-openai
#   systemctl --user enable --now claude-openai.socket claude-openai.service

[Unit]
Description=Sockets of claude-openai

[Socket]
{streams}SocketMode={mode}
{group}
[Install]
WantedBy=sockets.target
"""

# An XML comment cannot contain two hyphens in a row.
LAUNCHD: Final = f"""\
<!-- claude-openai for one user. Save this as ~/Library/LaunchAgents/{LABEL}.plist, then:
       launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{LABEL}.plist
     To remove it:
       launchctl bootout gui/$(id -u)/{LABEL}; rm ~/Library/LaunchAgents/{LABEL}.plist
     Keys and other variables, such as CLAUDE_OPENAI_API_KEY=..., go into ~/.claude-openai/{ENVIRONMENT_FILE}
     (mode 0600). Claude's own tools, for requests that ask for them, work in ~/.claude-openai/{WORKSPACE} and nowhere
     else, unless {PREFIXES.variables[0]} names other folders there. -->
"""
# launchd does not read a file of variables, and does not keep the standard error of a service.
LAUNCHD_SCRIPT: Final = (
    f'umask 077; folder="$HOME/.claude-openai"; mkdir -p "$folder/{WORKSPACE}"; set -a; '
    f'[ ! -f "$folder/{ENVIRONMENT_FILE}" ] || . "$folder/{ENVIRONMENT_FILE}"; set +a; '
    f'exec "$@" 2>> "$folder/{STDERR_FILE}"'
)


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "service",
        "Print a unit for systemd or launchd that keeps a server running. The flags of the server go into the unit.",
    )
    parser.add_argument("--print", action="store_true", help="print the unit (required; nothing is installed)")
    parser.add_argument("--systemd", action="store_true", help="print a unit for systemd (default: except on macOS)")
    parser.add_argument("--socket", action="store_true", help="print the unit of systemd with its sockets instead")
    parser.add_argument("--launchd", action="store_true", help="print a unit for launchd (default: on macOS)")
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the unit."""
    options, flags = parser().parse_known_args(list(argv))
    config = config_from(flags, _service_environ(flags, environ))
    if not options.print or (options.systemd and options.launchd) or (options.socket and options.launchd):
        raise ConfigError("service: expected --print, and at most one of --systemd (with --socket) and --launchd")
    if without_flags(flags) != tuple(flags):
        raise ConfigError(
            "service: --api-key and --background are not allowed in a unit",
            hint=f"put CLAUDE_OPENAI_API_KEY=... into {str(home_folder() / ENVIRONMENT_FILE)!r}",
        )
    if options.socket:
        print(_systemd_socket(config), end="")
        return 0
    command = [sys.executable, "-P", "-m", "claude_openai", *flags]
    if config.log and not has_flag(flags, "--log-file"):
        command += ["--log-file", str(home_folder() / LOG_FILE)]
    is_launchd = options.launchd or (sys.platform == "darwin" and not options.systemd)
    unit = _launchd if is_launchd else _systemd
    stop_s = (config.lame_duck_ms + config.drain_timeout_ms) // 1000 + round(BEYOND_DRAIN_S) + KILL_LATER_S
    variables = {"TMPDIR": environ["TMPDIR"]} if environ.get("TMPDIR") else {}
    if not has_flag(flags, PREFIXES.flag):
        variables[PREFIXES.variables[0]] = str(home_folder() / WORKSPACE)
    print(unit(command, variables, stop_s), end="")
    return 0


def _service_environ(flags: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to check the flags with: without the key of this shell, which the service does not get."""
    keys = {name for setting in SETTINGS if setting.field == "api_key" for name in setting.variables}
    others = {name: value for name, value in environ.items() if name not in keys}
    # A public address requires a key. The service reads its key from a file of variables, which is not read here.
    return others if has_flag(flags, "--api-key-file") else {**others, "CLAUDE_OPENAI_API_KEY": "in-the-file"}


def _systemd(command: Sequence[str], variables: Mapping[str, str], stop_s: int) -> str:
    return SYSTEMD.format(
        command=_line(command),
        prepare=f"ExecStartPre=/bin/mkdir -p -m 700 {_line((str(home_folder()), str(home_folder() / WORKSPACE)))}\n",
        environment="".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in variables.items()),
        file=ENVIRONMENT_FILE,
        workspace=WORKSPACE,
        prefixes=PREFIXES.variables[0],
        stop_s=stop_s,
    )


def _systemd_socket(config: Config) -> str:
    streams = [f"ListenStream={_stream(each)}\n" for each in config.addresses]
    group = "" if config.unix_group is None else f"SocketGroup={config.unix_group}\n"
    return SYSTEMD_SOCKET.format(streams="".join(streams), mode=config.unix_mode, group=group)


def _stream(address: Address) -> str:
    """Return an address as systemd writes it, which takes addresses and no names."""
    if isinstance(address, UnixAddress):
        return str(address.path).replace("%", "%%")
    if address.port == 0:
        raise ConfigError("service: port 0 is no address for a unit", hint="choose a port with --port")
    host = "127.0.0.1" if is_loopback(address.host) and not _is_ip(address.host) else address.host
    if not _is_ip(host):
        raise ConfigError(f"service: {host!r} is no IP address, which a unit for sockets needs", hint="use its address")
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _line(words: Sequence[str]) -> str:
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _quoted(word: str) -> str:
    """Quote a word for systemd."""
    if re.fullmatch(r"[\w@:,./=+-]+", word, re.ASCII):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{escaped}"'


def _launchd(command: Sequence[str], variables: Mapping[str, str], stop_s: int) -> str:
    plist = {
        "Label": LABEL,
        "ProgramArguments": ["/bin/sh", "-c", LAUNCHD_SCRIPT, "claude-openai", *command],
        "EnvironmentVariables": dict(variables),
        "WorkingDirectory": os.path.expanduser("~"),  # noqa: PTH111 - text for a file
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": stop_s,
    }
    text = plistlib.dumps(plist, sort_keys=False).decode()
    head, doctype, rest = text.partition("<plist")
    return f"{head}{LAUNCHD}{doctype}{rest}"
