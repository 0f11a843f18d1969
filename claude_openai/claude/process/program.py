"""Finds the `claude` program."""

import importlib.util
import os
import shutil
from pathlib import Path

from claude_openai.errors import ClaudeMissing, ConfigError

__all__ = ["find_claude", "login_command"]


def find_claude(command: str | None) -> Path:
    """Return the `claude` program to run: `command`, else the SDK's own, else the first on PATH.

    Raises:
        ConfigError: `command` does not exist or cannot be run.
        ClaudeMissing: there is no `claude`.
    """
    if command is not None:
        # A Path would turn './claude' into 'claude', which is looked up on PATH.
        found = shutil.which(os.path.expanduser(command))  # noqa: PTH111
        if found is None:
            raise ConfigError(
                f"--claude-command / CLAUDE_OPENAI_CLAUDE_COMMAND or CLAUDE_COMMAND: {command!r} is not a program that "
                "can be run",
                hint="leave it out to use the program that comes with the SDK",
            )
        return Path(found).absolute()
    bundled = _bundled_claude()
    if bundled is not None:
        return bundled
    found = shutil.which("claude")
    if found is None:
        raise ClaudeMissing(
            "Claude Code was not found: the installed claude-agent-sdk does not include it for this platform, and PATH "
            "has no 'claude'",
            hint="Install it with `npm install -g @anthropic-ai/claude-code` (the server need not be restarted), or "
            "name it with --claude-command.",
            may_retry=False,
        )
    return Path(found).absolute()


def _bundled_claude() -> Path | None:
    # Looked up without importing the SDK, which takes half a second.
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "_bundled" / "claude"
    return path if path.is_file() and os.access(path, os.X_OK) else None


def login_command(claude: Path) -> str:
    """Return the shell command that logs this `claude` in."""
    on_path = shutil.which("claude")
    same = on_path is not None and Path(on_path).resolve() == claude.resolve()
    return "claude auth login" if same else f"{claude} auth login"
