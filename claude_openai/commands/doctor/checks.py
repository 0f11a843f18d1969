"""What `doctor` finds out: one check, one line, and how to mend what is not well. Here those of the machine itself.

They look and ask nobody: no network, nothing written, nothing started. Knows the settings and the machine; knows no
Claude and no server.
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from claude_openai._version import __version__
from claude_openai.claude.process.free_memory import available_mb
from claude_openai.config import Config, is_loopback

__all__ = ["Finding", "machine_checks", "obstacle"]

MIN_PYTHON: Final = (3, 11)
PLATFORMS: Final = ("linux", "darwin")
PACKAGES: Final = ("trio", "h11", "hypercorn", "quart", "quart_trio", "jsonschema", "claude_agent_sdk")
SESSION_MB: Final = 200
_PROXIES: Final = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        state: "FAIL" for what keeps a server from working.
        found: what is the case.
        mend: what to do about it, "" if all is well.
    """

    name: str
    state: Literal["ok", "warning", "FAIL"]
    found: str
    mend: str = ""


def obstacle(folder: Path) -> str:
    """Why nothing can be written into a folder, which need not be there yet; "" if it can."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{str(there)!r} is not a folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{str(there)!r} cannot be written to"


def machine_checks(config: Config, argv: Sequence[str], environ: Mapping[str, str]) -> list[Finding]:
    """Those that need no other process.

    Args:
        config: what `argv` and `environ` amount to.
        argv: flags.
        environ: variables.
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
        return Finding("Python", "FAIL", found, "install Python 3.11 or newer, and claude-openai again with that one")
    if sys.platform not in PLATFORMS:
        return Finding("Python", "FAIL", found, "use Linux or macOS; on Windows, WSL")
    return Finding("Python", "ok", found)


def _package(config: Config) -> Finding:
    needed = [name for name in PACKAGES if name != "claude_agent_sdk" or config.backend == "sdk"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(
            "package",
            "FAIL",
            f"claude-openai {__version__}, without {', '.join(missing)}",
            f"install it again: {sys.executable} -m pip install --force-reinstall claude-openai",
        )
    return Finding("package", "ok", f"claude-openai {__version__} in {str(Path(__file__).parents[2])!r}")


def _folders(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    try:
        home = Path.home()
    except RuntimeError:
        return [Finding("home", "FAIL", "there is no home folder", "set HOME")]
    checks = []
    # The demo gives Claude Code a configuration folder of its own.
    claude = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    wanted = {home / ".claude-openai": "set HOME to a folder of yours"}
    if not config.demo:
        wanted[claude] = "make it writable, or set CLAUDE_CONFIG_DIR to a folder of yours"
    for folder, mend in wanted.items():
        reason = obstacle(folder)
        if reason:
            checks.append(Finding("home", "FAIL", reason, mend))
    if not checks:
        checks.append(Finding("home", "ok", f"{' and '.join(str(folder) for folder in wanted)} can be written"))
    return [*checks, _output(config)]


def _output(config: Config) -> Finding:
    folder = config.output_dir
    if folder is None:
        return Finding("output", "ok", "runs are captured nowhere")
    reason = obstacle(folder)
    if not reason and folder.is_symlink():
        reason = f"{str(folder)!r} is a symbolic link"
    if not reason and folder.exists():
        status = folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            reason = f"{str(folder)!r} is another user's, or others may write to it"
    if reason:
        # A run that is not captured runs all the same.
        return Finding("output", "warning", reason, "--output-dir PATH, with a folder of yours; or --output-dir none")
    return Finding("output", "ok", f"runs are captured in {str(folder)!r}")


def _key(config: Config, argv: Sequence[str]) -> Finding:
    seen = any(word.partition("=")[0] == "--api-key" for word in argv)
    if seen:
        return Finding(
            "key",
            "warning",
            "given as a flag, which others on this machine can see",
            "use CLAUDE_OPENAI_API_KEY, or --api-key-file",
        )
    if not is_loopback(config.host):
        return Finding("key", "ok", f"{config.host} can be reached from other machines; clients must send the key")
    if config.api_key:
        return Finding("key", "ok", "clients must send it")
    return Finding("key", "ok", "none is asked for; only this machine can reach the server")


def _memory(config: Config) -> Finding:
    kept = config.max_idle_sessions + 2 * config.spares if config.backend == "sdk" else 0
    needed = (config.max_concurrency + kept) * SESSION_MB
    available = available_mb()
    if available is None:
        return Finding("memory", "ok", f"the settings need up to {needed} MB; what there is cannot be told here")
    found = f"{available} MB available, the settings need up to {needed} MB"
    if available < SESSION_MB:
        return Finding("memory", "FAIL", found, f"free {SESSION_MB} MB, the least for one turn")
    if available < needed:
        mend = "--max-idle-sessions, --spares and --max-concurrency with lower numbers need less"
        return Finding("memory", "warning", found, mend)
    return Finding("memory", "ok", found)


def _proxy(environ: Mapping[str, str]) -> Finding:
    used = next((name for name in _PROXIES if environ.get(name)), "")
    if not used:
        return Finding("proxy", "ok", "none is set that would catch local addresses")
    exempt = [word.strip() for name in ("no_proxy", "NO_PROXY") for word in environ.get(name, "").split(",")]
    if any(word == "*" or word.startswith("127.") for word in exempt):
        return Finding("proxy", "ok", f"{used} is set, local addresses are exempt")
    return Finding(
        "proxy",
        "warning",
        f"{used} is set, and clients may send requests for 127.0.0.1 to it",
        "export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost (and what is in it already)",
    )
