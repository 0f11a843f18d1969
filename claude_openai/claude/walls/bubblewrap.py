"""Makes the bubblewrap command line that confines one `claude` process.

All of Claude Code runs inside, not only its Bash: so its tools, sub-agents and background commands have the same view,
there is no path check and no race with one, and all of its processes are in a PID namespace that the kernel ends with
it. (The alternative, Claude Code's own sandbox, confines Bash alone, lets it read the whole disk by default, and
without namespaces makes Bash unusable instead of reporting it.)

The view starts empty, and has
- the system, read-only: programs, libraries, configuration; no /run, /var, /srv, /mnt, no other home;
- the folders of the request, writable, at their own paths; the working folder is bound as the folder in which
  bubblewrap was started, so its path is not resolved again;
- HOME, empty and writable, which ends with the process: a list of the secrets in a home is always incomplete, and files
  written there (a shell's startup file, a hook of Claude Code, an autostart entry) would run outside later. In it,
  read-only: git's configuration, and the toolchains on the server's PATH, because builds with Bash need a compiler;
- Claude Code's configuration for this process alone: the login file itself, writable, because logins are renewed in
  place, and a copy of the account's settings. So programs inside can read the login, as they can read the API key in
  the environment: Claude Code needs it;
- its temporary folder; an empty /tmp; the history; files that its variables name, such as certificates;
- the network with the loopback addresses, and with it abstract sockets.

Secrets in a folder that must be visible (an allowed folder may be the home itself) are covered. `confinement` decides
whether bubblewrap is used.
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
# Often links to files outside the view.
_LINKED = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/etc/ssl/certs", "/etc/ssl/ca-bundle.pem")
_EMPTY = ("/tmp", "/var/tmp")  # noqa: S108 - of the namespace
_SECRETS_OF_SYSTEM = ("/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private")
# The permission rules deny other secrets of the home folder; these are covered in addition.
_MORE_SECRETS_OF_HOME = (
    *(".cargo/credentials", ".cargo/credentials.toml", ".config/git/credentials", ".docker", ".claude-openai"),
    *(".mozilla", ".config/google-chrome", ".config/chromium", ".bash_history", ".zsh_history"),
)
_OF_GIT = (".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes")
# Files of programs on PATH that are not beside the programs.
_OF_TOOLCHAINS = (".rustup", ".local/lib", *(f".local/share/{name}" for name in ("fnm", "mise", "pipx", "pnpm", "uv")))
_FOLDERS_OF_PROGRAMS = ("bin", "sbin", "shims")

# Variables of Claude Code and of its connections whose value is a path.
_NAMED = (
    *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "AWS_CA_BUNDLE"),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)
# Logins of clouds, for Claude on their services.
_CLOUDS = {
    "CLAUDE_CODE_USE_BEDROCK": ".aws",
    "CLAUDE_CODE_USE_VERTEX": ".config/gcloud",
    "CLAUDE_CODE_USE_FOUNDRY": ".azure",
}


@dataclass(frozen=True, slots=True)
class View:
    """The paths that one process may see besides the system. All are absolute.

    Attributes:
        program: the program of Claude Code.
        cwd: the working folder, writable; bubblewrap is started in it.
        writable: further folders of the request.
        readable: the transcript with its history.
        temporary: its temporary folder.
        hidden: files and folders of the server, hidden even inside visible folders.
    """

    program: Path
    cwd: Path
    writable: Sequence[Path]
    readable: Sequence[Path]
    temporary: Path
    hidden: Sequence[Path]


class _Mounts:
    """The mounts by path. Deeper paths are mounted later, so they take precedence."""

    def __init__(self) -> None:
        self._flags: dict[Path, tuple[str, ...]] = {}
        self._replaced: set[Path] = set()

    def bind(self, path: Path, *, writable: bool = False) -> None:
        """Show a path; it is left out if it does not exist at the start."""
        self._bind(path, path, writable)

    def replace(self, path: Path, source: Path) -> None:
        """Show `source` at the path, writable."""
        self._replaced.add(path)
        self._bind(path, source, writable=True)

    def work_in(self, path: Path) -> None:
        """Show the folder in which bubblewrap is started at the path, writable."""
        self._bind(path, Path("/proc/self/cwd"), writable=True)

    def _bind(self, path: Path, source: Path, writable: bool) -> None:
        self._flags[path] = ("--bind-try" if writable else "--ro-bind-try", str(source), str(path))

    def empty(self, path: Path, kind: str = "--tmpfs") -> None:
        self._flags[path] = (kind, str(path))

    def cover(self, path: Path) -> None:
        """Hide a path that exists and would be visible."""
        path = Path(os.path.realpath(path))
        if path not in self._flags and self.shows(path) and path.exists():
            if path.is_dir():
                self.empty(path)
            else:
                self._flags[path] = ("--dev-bind", os.devnull, str(path))  # read by programs as an empty file

    def shows(self, path: Path) -> bool:
        """Whether the path would be visible."""
        nearest = next((each for each in (path, *path.parents) if each in self._flags), None)
        return nearest is not None and nearest not in self._replaced and "bind" in self._flags[nearest][0]

    def flags(self) -> list[str]:
        ordered = sorted(self._flags.items(), key=lambda each: len(each[0].parts))
        return [word for _, words in ordered for word in words]


def enclosed(bwrap: str, argv: Sequence[str], env: Mapping[str, str], view: View) -> list[str]:
    """Return a command line that runs `argv` in bubblewrap. Makes folders in `view.temporary`. Blocks.

    Args:
        bwrap: the full path of bubblewrap.
        argv: the command line to confine.
        env: its environment.
        view: the paths that it may see.

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
    """Show the program, also if it is a link, and the files beside it: a script needs its package."""
    for path in (program, Path(os.path.realpath(program))):
        mounts.bind(path if home.is_relative_to(path.parent) else path.parent)


def _show_config(mounts: _Mounts, home: Path, env: Mapping[str, str], temporary: Path) -> None:
    """Show Claude Code's folder and file as those of this process alone, except for the login."""
    named = env.get("CLAUDE_CONFIG_DIR", "")
    folder = Path(named).absolute() if named else home / ".claude"
    account = (folder if named else home) / ".claude.json"
    private = _made(temporary / "config")
    for path in (folder, Path(os.path.realpath(folder))):  # `file_guard` passes resolved paths to Claude Code
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
