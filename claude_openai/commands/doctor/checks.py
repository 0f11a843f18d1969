"""The checks of the machine: Python, the package, folders, key, memory and proxies. Each returns one `Finding`.

They use no network and start no process. Files without a name are created in folders, because only that shows whether
a file can be written there: permissions do not show it for root, nor for a file system like /proc. Nothing is left.
"""

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from claude_openai._version import __version__
from claude_openai.claude.process.free_memory import available_mb
from claude_openai.commands.start import log_file_of
from claude_openai.config import Config, is_loopback
from claude_openai.logs.writer import log_file_obstacle

__all__ = ["Finding", "machine_checks", "obstacle"]

MIN_PYTHON: Final = (3, 11)
PLATFORMS: Final = ("linux", "darwin")
PACKAGES: Final = ("trio", "h11", "hypercorn", "quart", "quart_trio", "jsonschema", "claude_agent_sdk")
SESSION_MB: Final = 200
_PROXIES: Final = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: a line of the report. The attributes are the keys of `doctor --json`.

    Attributes:
        name: the subject of the check.
        state: "FAIL" if a server cannot work.
        found: the result, in words.
        mend: the hint: what to do about it; "" if there is nothing to do.
    """

    name: str
    state: Literal["ok", "warning", "FAIL"]
    found: str
    mend: str = ""


def obstacle(folder: Path) -> str:
    """Return why a folder cannot be written to; "" if it can. A folder that does not exist yet could be created."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"not a folder: {str(there)!r}"
    try:
        with tempfile.TemporaryFile(dir=there):
            return ""
    except OSError as error:
        return f"not writable: {str(there)!r}: {error.strerror or error}"


def machine_checks(config: Config, argv: Sequence[str], environ: Mapping[str, str]) -> list[Finding]:
    """Run the checks of the machine.

    Args:
        config: built from `argv` and `environ`.
        argv: flags.
        environ: environment variables.
    """
    return [
        _python(),
        _package(config),
        *_folders(config, environ),
        _key(config, argv),
        _memory(config),
        _proxy(environ),
    ]


def _python() -> Finding:
    found = f"{platform.python_version()} on {sys.platform} {platform.machine()}"
    if sys.version_info < MIN_PYTHON:
        return Finding("Python", "FAIL", found, "install Python 3.11 or newer, then install claude-openai for it")
    if sys.platform not in PLATFORMS:
        return Finding("Python", "FAIL", found, "use Linux or macOS; on Windows use WSL")
    return Finding("Python", "ok", found)


def _package(config: Config) -> Finding:
    needed = [name for name in PACKAGES if name != "claude_agent_sdk" or config.backend == "sdk"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(
            "package",
            "FAIL",
            f"claude-openai {__version__} lacks {', '.join(missing)}",
            f"reinstall it: {sys.executable} -m pip install --force-reinstall claude-openai",
        )
    return Finding("package", "ok", f"claude-openai {__version__} in {str(Path(__file__).parents[2])!r}")


def _folders(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    try:
        home = Path.home()
    except RuntimeError:
        return [Finding("home", "FAIL", "the home folder is unknown", "set HOME")]
    checks = []
    # In the demo Claude Code has a temporary configuration folder.
    claude = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    wanted = {home / ".claude-openai": "set HOME to a folder that you own"}
    if not config.demo:
        wanted[claude] = "make it writable, or set CLAUDE_CONFIG_DIR to a folder that you own"
    for folder, mend in wanted.items():
        reason = obstacle(folder)
        if reason:
            checks.append(Finding("home", "FAIL", reason, mend))
    if not checks:
        checks.append(Finding("home", "ok", f"{' and '.join(str(folder) for folder in wanted)}: writable"))
    return [*checks, _log(config), _output(config), _usage(config), *_responses(config)]


def _log(config: Config) -> Finding:
    path = log_file_of(config, Path.cwd())
    if path is None:
        return Finding("log", "ok", "no log is written")
    reason = log_file_obstacle(path) or ("" if path.exists() else obstacle(path.parent))
    is_named = config.effective_log_file is not None
    if reason:
        # A server in the foreground logs to its standard output, unless a file is named.
        state: Literal["warning", "FAIL"] = "FAIL" if is_named or config.background else "warning"
        return Finding("log", state, f"{str(path)!r} cannot be written: {reason}", "use another --log-file")
    return Finding("log", "ok", f"{str(path)!r}{'' if is_named else ', in the background'}")


def _usage(config: Config) -> Finding:
    path = None if config.demo else config.usage_file
    if path is None:
        return Finding("usage", "ok", "figures are kept in memory only")
    # SQLite creates a second file beside it.
    reason = log_file_obstacle(path) or obstacle(path.parent)
    if reason:
        found = f"{str(path)!r} cannot be written: {reason}"
        return Finding("usage", "warning", found, "use another --usage-file, or none")
    return Finding("usage", "ok", f"figures are kept in {str(path)!r}")


def _responses(config: Config) -> list[Finding]:
    path = config.responses_file
    if path is None or not config.store:
        return []
    reason = log_file_obstacle(path) or obstacle(path.parent)
    if reason:
        found = f"{str(path)!r} cannot be written: {reason}"
        return [Finding("responses", "warning", found, "use another --responses-file")]
    return [Finding("responses", "ok", f"stored responses are kept in {str(path)!r}")]


def _output(config: Config) -> Finding:
    folder = config.output_dir
    if folder is None:
        return Finding("output", "ok", "runs are not captured")
    reason = obstacle(folder)
    if not reason and folder.is_symlink():
        reason = f"symbolic link: {str(folder)!r}; expected a folder"
    if not reason and folder.exists():
        status = folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            reason = f"{str(folder)!r} belongs to another user, or other users can write to it"
    if reason:
        # Only a warning: the run itself does not fail.
        return Finding("output", "warning", reason, "use --output-dir with a folder that you own, or --output-dir none")
    return Finding("output", "ok", f"runs are captured in {str(folder)!r}")


def _key(config: Config, argv: Sequence[str]) -> Finding:
    seen = any(word.partition("=")[0] == "--api-key" for word in argv)
    if seen:
        return Finding(
            "key",
            "warning",
            "--api-key is visible to other users of this machine",
            "use CLAUDE_OPENAI_API_KEY or --api-key-file",
        )
    public = next((host for host in config.hosts if not is_loopback(host)), None)
    if public is not None:
        return Finding("key", "ok", f"required from clients; other machines can reach {public}")
    if config.needs_key:
        return Finding("key", "ok", "required from clients")
    return Finding("key", "ok", "not required; only this machine can reach the server")


def _memory(config: Config) -> Finding:
    kept = config.max_idle_sessions + 2 * config.spares if config.backend == "sdk" else 0
    needed = (config.max_concurrency + kept) * SESSION_MB
    available = available_mb()
    if available is None:
        return Finding("memory", "ok", f"the settings need up to {needed} MB; available: unknown")
    found = f"{available} MB available, the settings need up to {needed} MB"
    if available < SESSION_MB:
        return Finding("memory", "FAIL", found, f"free at least {SESSION_MB} MB, which one turn needs")
    if available < needed:
        mend = "lower --max-idle-sessions, --spares or --max-concurrency"
        return Finding("memory", "warning", found, mend)
    return Finding("memory", "ok", found)


def _proxy(environ: Mapping[str, str]) -> Finding:
    used = next((name for name in _PROXIES if environ.get(name)), "")
    if not used:
        return Finding("proxy", "ok", "no proxy variable affects local addresses")
    exempt = [word.strip() for name in ("no_proxy", "NO_PROXY") for word in environ.get(name, "").split(",")]
    if any(word == "*" or word.startswith("127.") for word in exempt):
        return Finding("proxy", "ok", f"{used} is set; local addresses are exempt")
    return Finding(
        "proxy",
        "warning",
        f"{used} is set, so clients may send requests for 127.0.0.1 to the proxy",
        "add 127.0.0.1 and localhost to NO_PROXY and no_proxy: export NO_PROXY=127.0.0.1,localhost "
        "no_proxy=127.0.0.1,localhost",
    )
