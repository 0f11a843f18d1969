"""Decides, before each call of one of Claude Code's own tools, whether it stays inside the folders of its request.

Permission modes restrict kinds of calls, not folders: `plan`, `auto` and `bypassPermissions` read any file of the user.
So every call is checked here first, in every mode and from sub-agents too (`hook` receives the hook). A call is denied,
or left to its permission mode; this module never allows one. Paths are compared after all symbolic links are resolved,
and Claude Code gets the resolved path, so that a link that is replaced in the meantime is not followed.

Every method blocks on file system calls.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from claude_openai.claude.walls.own_tools import TOOLS
from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT
from claude_openai.protocol.claude_code.tool_names import own_name
from claude_openai.protocol.turn.claude_options import ClaudeOptions

__all__ = ["Denied", "FileGuard"]

# The input with the path. Claude Code makes the path absolute, but does not resolve links.
_PATH_INPUTS: Final = {"Read": "file_path", "Edit": "file_path", "Write": "file_path", "NotebookEdit": "notebook_path"}
_SPECIAL_FOLDERS: Final = tuple(map(Path, ("/proc", "/sys", "/dev")))
# `..`, `~`, an absolute path behind a brace, and escapes in an absolute pattern.
_UNCLEAR_PATTERN: Final = re.compile(r"(^|[/{,(|])\.\.([/},)|]|$)|[{,(|][/~]|^~|^/.*\\", re.DOTALL)
# `git status`, `/usr/bin/git log` and `bash -c 'git diff'`, but neither `.git` nor `digit`.
_GIT: Final = re.compile(r"(?<![\w.-])git(?![\w.])", re.IGNORECASE)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Denied(Exception):
    """The call must not be made. The text is the tool's result for Claude."""


class FileGuard:
    """Checks the calls of one Claude Code process. Methods may run in several threads at once.

    Args:
        options: tools, permission mode and folders of the request.
        home: HOME of the process.
        config: the folder where the process keeps its own files, usually `~/.claude`.
    """

    def __init__(self, options: ClaudeOptions, *, home: str, config: str) -> None:
        self._options = options
        self._home = home
        self._config = Path(config)
        self._plans: set[Path] = set()

    @property
    def plans(self) -> list[str]:
        """The names of plans that the process may have made, relative to its configuration folder."""
        return [f"plans/{path.name}" for path in self._plans.copy()]

    def check(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """Check one call.

        Args:
            asked: the input of a PreToolUse hook, of which `tool_name`, `tool_input`, `cwd` and `transcript_path`
                are read.

        Returns:
            The changed input for the call; None to leave it unchanged.

        Raises:
            Denied: the call must not be made.
            Exception: the call could not be checked, so it must not be made either.
        """
        name: str = asked["tool_name"]
        tool_input: Mapping[str, Any] = asked["tool_input"]
        if own_name(name) is not None or name == STRUCTURED_OUTPUT:
            return None
        if name not in TOOLS[self._options.tool_mode]:
            raise Denied(f"The tool {name} is not available in this conversation.")
        match name:
            case "Read" | "Edit" | "Write" | "NotebookEdit":
                return self._check_file(asked, _PATH_INPUTS[name])
            case "Grep":
                return self._check_grep(asked)
            case "Glob":
                return self._check_glob(asked)
            case "Bash":
                self._check_command(tool_input["command"])
            case "Agent":
                self._check_sub_agent(tool_input)
            case "TaskStop" | "WebFetch" | "WebSearch":
                pass  # not about files; the tool mode allows them
            case _:
                raise Denied(f"The server does not know the tool {name}.")
        return None

    def _check_file(self, asked: Mapping[str, Any], key: str) -> dict[str, Any] | None:
        path = Path(asked["tool_input"][key])
        if not path.is_absolute():
            raise Denied(f"{path} is not an absolute path.")
        real = _resolve(path)
        if not self._is_for_claude_code(asked, real):
            self._check_inside(real)
        _check_kind(real, files=True)
        return _with(asked, key, real)

    def _check_grep(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        real = self._search_path(asked)
        if not self._is_for_claude_code(asked, real):
            self._check_inside(real)
        _check_kind(real, files=True, folders=True)
        return _with(asked, "path", real)

    def _check_glob(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        pattern = asked["tool_input"]["pattern"]
        if _UNCLEAR_PATTERN.search(pattern):
            raise Denied(f"The pattern {pattern!r} may match files outside the folder. Pass the folder as 'path'.")
        folder = self._search_path(asked)
        self._check_inside(folder)
        _check_kind(folder, folders=True)
        # Glob starts to search where the pattern stops being the path of an existing file.
        begins = _resolve(folder / pattern)
        self._check_inside(begins)
        changed = _with(asked, "path", folder)
        if Path(pattern).is_absolute() and str(begins) != pattern:
            changed = {**(changed or asked["tool_input"]), "pattern": str(begins)}
        return changed

    def _search_path(self, asked: Mapping[str, Any]) -> Path:
        """Return the resolved path that Glob or Grep searches. The input is as the model wrote it, or missing."""
        cwd, path = Path(asked["cwd"]), asked["tool_input"].get("path")
        if not cwd.is_absolute():
            raise Denied(f"{cwd} is not an absolute path.")
        if path is None:
            return _resolve(cwd)
        if path == "~" or path.startswith("~/"):
            path = self._home + path[1:]
        return _resolve(cwd / path)

    def _check_inside(self, real: Path) -> None:
        _check_not_special(real)
        root = next((root for root in self._options.roots if real.is_relative_to(root.path)), None)
        if root is None:
            folders = ", ".join(root.path for root in self._options.roots) or "none"
            raise Denied(f"{real} is outside the allowed folders: {folders}.")
        found = os.lstat(root.path)
        if (found.st_dev, found.st_ino) != (root.device, root.inode):
            raise Denied(f"The folder {root.path} has been replaced by another folder.")

    def _check_command(self, command: str) -> None:
        # A repository's settings can make `git status` run programs, and Claude Code considers it harmless. Spellings
        # that only a shell understands, such as g""it, are left to the rules of `permission_rules`.
        if self._options.permission_mode != "bypassPermissions" and _GIT.search(command):
            raise Denied("git is not available here: a repository's settings can make it run any program.")

    def _check_sub_agent(self, tool_input: Mapping[str, Any]) -> None:
        if self._options.permission_mode != "bypassPermissions" and tool_input.get("isolation") is not None:
            raise Denied("Isolated sub-agents are not available here. Leave out 'isolation'.")

    def _is_for_claude_code(self, asked: Mapping[str, Any], real: Path) -> bool:
        """Whether it is one of Claude Code's files outside the folders that Claude is directed to.

        These are plans and long results.
        """
        name = asked["tool_name"]
        if not real.is_relative_to(_real(self._config)):
            return False
        if name in ("Read", "Grep") and self._is_long_result(real, Path(asked["transcript_path"])):
            return True
        return (
            self._options.permission_mode == "plan" and name in ("Read", "Edit", "Write") and self._is_plan(real, name)
        )

    def _is_long_result(self, real: Path, transcript: Path) -> bool:
        """Whether it is a tool result that was too long for the conversation: `projects/FOLDER/UUID/tool-results/NAME`.

        FOLDER is that of the transcript. UUID cannot be guessed, and only the result itself has it (2.1.332).
        """
        sessions = _real(transcript.parent)
        if sessions.parent != _real(self._config / "projects") or not real.is_relative_to(sessions):
            return False
        match real.relative_to(sessions).parts:
            case (session, "tool-results", _):
                return _UUID.fullmatch(session) is not None
        return False

    def _is_plan(self, real: Path, name: str) -> bool:
        """Whether it is a plan, `plans/NAME.md`. The mode lets Write create only a plan whose name it has chosen."""
        if real.parent != _real(self._config / "plans") or real.suffix != ".md":
            return False
        if name == "Write" and not os.path.lexists(real):
            self._plans.add(real)
        return real in self._plans


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _resolve(path: Path) -> Path:
    """Resolve symbolic links; for a path that does not exist, in its existing part.

    Raises:
        Denied: `..` follows a folder that does not exist, which the kernel and Claude Code treat differently; or the
            path begins in /proc, whose links lead to other places for other processes.
        OSError: a link is dangling or circular, or a folder on the way cannot be searched.
    """
    _check_not_special(path)
    missing: list[str] = []
    while True:
        try:
            return Path(os.path.realpath(path, strict=True), *reversed(missing))
        except FileNotFoundError:
            if path.is_symlink():
                raise
        if path.name == "..":
            raise Denied(f"{path.parent} does not exist.")
        missing.append(path.name)
        path = path.parent


def _check_not_special(path: Path) -> None:
    if any(path.is_relative_to(folder) for folder in _SPECIAL_FOLDERS):
        raise Denied(f"{path} is a system file, not a file of a project.")


def _check_kind(real: Path, *, files: bool = False, folders: bool = False) -> None:
    """Refuse pipes and devices, which may block Claude Code forever. Claude Code itself reports a missing file."""
    try:
        mode = real.lstat().st_mode
    except FileNotFoundError:
        return
    if not (files and stat.S_ISREG(mode)) and not (folders and stat.S_ISDIR(mode)):
        raise Denied(f"{real} is not a {'regular file' if files else 'folder'}.")


def _with(asked: Mapping[str, Any], key: str, real: Path) -> dict[str, Any] | None:
    """Return the tool's input with the resolved path; None if the input, or its default, has that path already."""
    tool_input: Mapping[str, Any] = asked["tool_input"]
    return None if tool_input.get(key, asked["cwd"]) == str(real) else {**tool_input, key: str(real)}
