"""What a confined `claude` sees of the machine: the command line of bubblewrap, made for one process.

The whole of Claude Code runs inside, not only its Bash: so each of its tools, sub-agents and background commands has
the same view, there is no path to check and none to race with, and all of its processes are in a PID namespace that the
kernel ends with it. (Claude Code's own sandbox, the alternative, holds Bash alone, lets it read the whole disk unless
told otherwise, and makes it useless where namespaces are missing instead of saying so.)

The view starts empty, and has

- the system, read-only: programs, libraries, configuration; no /run, /var, /srv, /mnt, no other home;
- the folders of the request, writable, at their own paths; in the one to work in nothing is resolved again: what is
  bound is the folder that bubblewrap was started in;
- HOME, empty and writable, and gone with the process: a list of what is secret in a home can only be incomplete, and
  what is written there (a shell's startup file, a hook of Claude Code, an autostart entry) would run outside later. In
  it, read-only: git's configuration, and the toolchains, which are told by the PATH of the server; a build is what Bash
  is for, and it would find no compiler otherwise;
- Claude Code's configuration, of this process alone: the login file itself, writable, since a login is renewed in
  place, and a copy of the account's settings. So whatever runs inside can read the login, as it can read the API key in
  its environment: Claude Code could not work without;
- its own temporary folder; an empty /tmp; the history; files that its variables name, such as certificates;
- the network, the loopback addresses included, and with it abstract sockets.

What is secret in a folder that must be visible (an allowed folder may be the home itself) is covered. Knows paths, and
bubblewrap's flags; whether bubblewrap works here is `confinement`'s business.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from claude_openai.claude.walls.permission_rules import SECRETS_OF_HOME

__all__ = ["NAMESPACES", "View", "enclosed"]

# The network is shared: Claude's API is there, or a stand-in or gateway on loopback.
NAMESPACES = ("--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-drop", "ALL")

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"),
    *("/nix", "/run/current-system", "/gnu", "/snap"),
)
# Often links to what is not in there.
_LINKED = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/etc/ssl/certs", "/etc/ssl/ca-bundle.pem")
_EMPTY = ("/tmp", "/var/tmp")  # noqa: S108 - of the namespace
_SECRETS_OF_SYSTEM = ("/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private")
# Beside those that are denied by rules too.
_MORE_SECRETS_OF_HOME = (
    *(".cargo/credentials", ".cargo/credentials.toml", ".config/git/credentials", ".docker", ".claude-openai"),
    *(".mozilla", ".config/google-chrome", ".config/chromium", ".bash_history", ".zsh_history"),
)
_OF_GIT = (".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes")
# What programs on PATH need that does not lie beside them.
_OF_TOOLCHAINS = (".rustup", ".local/lib", *(f".local/share/{name}" for name in ("fnm", "mise", "pipx", "pnpm", "uv")))
_FOLDERS_OF_PROGRAMS = ("bin", "sbin", "shims")

# Variables of Claude Code and of what it uses for its connection whose value is a path.
_NAMED = (
    *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "AWS_CA_BUNDLE"),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)
# The login of a cloud, where Claude is asked there.
_CLOUDS = {
    "CLAUDE_CODE_USE_BEDROCK": ".aws",
    "CLAUDE_CODE_USE_VERTEX": ".config/gcloud",
    "CLAUDE_CODE_USE_FOUNDRY": ".azure",
}


@dataclass(frozen=True, slots=True)
class View:
    """What one process may see beside the system. All paths are full ones.

    Attributes:
        program: of Claude Code.
        cwd: where it works, writable; bubblewrap is started in it.
        writable: its further folders.
        readable: its history.
        temporary: its own temporary folder.
        hidden: files and folders of the server, not to be seen even if they lie in a folder that is.
    """

    program: Path
    cwd: Path
    writable: Sequence[Path]
    readable: Sequence[Path]
    temporary: Path
    hidden: Sequence[Path]


class _Mounts:
    """What is to be seen at which path. What lies deeper is mounted later, so it is what counts there."""

    def __init__(self) -> None:
        self._flags: dict[Path, tuple[str, ...]] = {}
        self._replaced: set[Path] = set()

    def bind(self, path: Path, *, writable: bool = False) -> None:
        """Show what is there. If it is gone by then it is left out."""
        self._bind(path, path, writable)

    def replace(self, path: Path, source: Path) -> None:
        """Show something else there, writable."""
        self._replaced.add(path)
        self._bind(path, source, writable=True)

    def work_in(self, path: Path) -> None:
        """Show the folder that bubblewrap is started in there, writable."""
        self._bind(path, Path("/proc/self/cwd"), writable=True)

    def _bind(self, path: Path, source: Path, writable: bool) -> None:
        self._flags[path] = ("--bind-try" if writable else "--ro-bind-try", str(source), str(path))

    def empty(self, path: Path, kind: str = "--tmpfs") -> None:
        self._flags[path] = (kind, str(path))

    def cover(self, path: Path) -> None:
        """Hide what is there, if anything is and it would be seen."""
        path = Path(os.path.realpath(path))
        if path not in self._flags and self.shows(path) and path.exists():
            if path.is_dir():
                self.empty(path)
            else:
                self._flags[path] = ("--dev-bind", os.devnull, str(path))  # read by programs as an empty file

    def shows(self, path: Path) -> bool:
        """Whether what is there would be seen."""
        nearest = next((each for each in (path, *path.parents) if each in self._flags), None)
        return nearest is not None and nearest not in self._replaced and "bind" in self._flags[nearest][0]

    def flags(self) -> list[str]:
        ordered = sorted(self._flags.items(), key=lambda each: len(each[0].parts))
        return [word for _, words in ordered for word in words]


def enclosed(bwrap: str, argv: Sequence[str], env: Mapping[str, str], view: View) -> list[str]:
    """The command line that runs another one in bubblewrap. Makes folders in `view.temporary`; blocks for as long.

    Args:
        bwrap: bubblewrap, by its full path.
        argv: what is to run.
        env: its environment.
        view: what it may see.

    Raises:
        OSError: the folders could not be made.
    """
    home = Path(env.get("HOME") or Path.home())
    roots = (view.cwd, *view.writable)
    mounts = _Mounts()
    _show_system(mounts, roots)
    private_home = len(home.parts) > 1 and not _is_inside(home, roots)
    if private_home:
        mounts.replace(home, _made(view.temporary / "home"))
        for name in (*_OF_GIT, *_OF_TOOLCHAINS):
            mounts.bind(home / name)
    _show_programs(mounts, home, env.get("PATH", ""), roots)
    _show_claude(mounts, view.program, home)
    for variable in _NAMED:
        if env.get(variable, "").startswith("/"):
            mounts.bind(Path(env[variable]))
    for path in view.readable:
        mounts.bind(path)
    for path in view.writable:
        mounts.bind(path, writable=True)
    mounts.work_in(view.cwd)
    secrets = (home / name for name in (*SECRETS_OF_HOME, *_MORE_SECRETS_OF_HOME))
    for path in (*map(Path, _SECRETS_OF_SYSTEM), *secrets, *view.hidden):
        mounts.cover(path)
    for variable, name in _CLOUDS.items():
        if env.get(variable):
            mounts.bind(home / name)
    _show_config(mounts, home, env, view.temporary)
    mounts.bind(view.temporary, writable=True)
    mounts.empty(Path("/proc"), "--proc")
    mounts.empty(Path("/dev"), "--dev")
    read_only = [] if Path("/") in roots or len(home.parts) == 1 else ["--remount-ro", "/"]
    return [bwrap, *NAMESPACES, *mounts.flags(), *read_only, "--chdir", str(view.cwd), "--", *argv]


def _show_system(mounts: _Mounts, roots: Iterable[Path]) -> None:
    for path in map(Path, _SYSTEM):
        mounts.bind(path)
    for path in map(Path, _LINKED):
        with suppress(OSError):
            mounts.bind(path.resolve(strict=True))
    for path in map(Path, _EMPTY):
        if not _is_inside(path, roots):
            mounts.empty(path)


def _show_programs(mounts: _Mounts, home: Path, path_variable: str, roots: Sequence[Path]) -> None:
    for folder in map(Path, path_variable.split(os.pathsep)):
        if folder.is_absolute() and not home.is_relative_to(folder) and not _is_inside(folder, roots):
            beside = folder.parent if folder.name in _FOLDERS_OF_PROGRAMS else folder
            if not mounts.shows(beside):
                mounts.bind(folder if (home / ".local").is_relative_to(beside) else beside)


def _show_claude(mounts: _Mounts, program: Path, home: Path) -> None:
    """The program, as the link that it may be, and what lies beside the file: a script needs its package."""
    for path in (program, Path(os.path.realpath(program))):
        mounts.bind(path if home.is_relative_to(path.parent) else path.parent)


def _show_config(mounts: _Mounts, home: Path, env: Mapping[str, str], temporary: Path) -> None:
    """Claude Code's folder and file, of this process alone but for the login."""
    named = env.get("CLAUDE_CONFIG_DIR", "")
    folder = Path(named).absolute() if named else home / ".claude"
    account = (folder if named else home) / ".claude.json"
    private = _made(temporary / "config")
    for path in (folder, Path(os.path.realpath(folder))):  # `file_guard` gives resolved paths to Claude Code
        mounts.replace(path, private)
    mounts.bind(Path(env.get("CLAUDE_SECURESTORAGE_CONFIG_DIR") or folder) / ".credentials.json", writable=True)
    profiles = Path(env.get("ANTHROPIC_CONFIG_DIR") or home / ".config/anthropic")
    mounts.bind(profiles)
    mounts.bind(profiles / "credentials", writable=True)
    copy = private / account.name
    with suppress(FileNotFoundError):
        shutil.copyfile(account, copy)
        if not named:
            mounts.replace(account, copy)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def _is_inside(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
