"""Combines the walls that keep the tools of a process in its folders: hook, permission rules, confinement of Bash.

The hook (`hook`) and Claude Code's own rules (`permission_rules`) are independent: neither relies on the other.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import trio

from claude_openai.claude.walls.bubblewrap import View, enclosed
from claude_openai.claude.walls.confinement import Confinement
from claude_openai.claude.walls.file_calls import FileCalls
from claude_openai.claude.walls.file_guard import FileGuard
from claude_openai.claude.walls.folders import check_roots, folder_not_available
from claude_openai.claude.walls.hook import ToolGuard
from claude_openai.claude.walls.permission_rules import Secret, Secrets, permission_rules, secrets_of_user
from claude_openai.claude.walls.search_guard import SearchGuard
from claude_openai.errors import ApiError, Forbidden
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.claude_options import ClaudeOptions
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["Enclose", "ToolWalls"]

# Returns the command line of a confined process from the plain one, the environment and the temporary folder. Blocks.
Enclose: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Path], Sequence[str]]


class ToolWalls:
    """The walls of all processes of a server.

    Args:
        confinement: whether processes with Bash are confined.
        secrets: files and folders of the server that Claude's own tools must not access.
        are_folders_named: see `Secrets`.
        log: for events outside of runs.
    """

    def __init__(self, confinement: Confinement, secrets: Sequence[Path], *, are_folders_named: bool, log: Log) -> None:
        self._confinement = confinement
        self._secrets = secrets
        self._are_folders_named = are_folders_named
        self._log = log
        self._file_calls = FileCalls()

    @property
    def status(self) -> Mapping[str, Any]:
        """Whether Bash is confined, for a backend's `status`."""
        return self._confinement.status

    def check(self, request: TurnRequest) -> None:
        """Refuse a turn that must be confined, and cannot be.

        Raises:
            Forbidden: with the reason.
        """
        if request.options.has_bash and self._confinement.required and not self._confinement.bwrap:
            raise Forbidden(
                "'claude.toolMode' cannot be 'all': the server was started with --confine require, and Bash cannot be "
                f"confined: {self._confinement.reason}.",
                code="cannot_confine",
                param="claude.toolMode",
            )

    def guard(self, options: ClaudeOptions, env: Mapping[str, str]) -> tuple[ToolGuard, Mapping[str, Sequence[str]]]:
        """Return the hook and the permission rules for one process.

        Args:
            options: its tools and folders.
            env: its environment.
        """
        search = None if options.web_search is None else SearchGuard(options.web_search)
        if not options.has_tools:
            return ToolGuard(None, self._file_calls, self._log, search), {}
        home = os.path.normpath(env.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - without a home it stays "~"
        config = os.path.normpath(env.get("CLAUDE_CONFIG_DIR") or f"{home}/.claude")
        own: list[Secret] = [(str(path.absolute()), "") for path in self._secrets]
        secrets = Secrets(
            of_server=(*own, (config, ".credentials.json")),
            of_user=secrets_of_user(home, config),
            are_folders_named=self._are_folders_named,
        )
        files = FileGuard(options, home=home, config=config)
        return ToolGuard(files, self._file_calls, self._log, search), permission_rules(options, secrets)

    def enclosing(self, claude: Path, options: ClaudeOptions, cwd: Path, resume: Path | None) -> Enclose | None:
        """Return a function that confines one process; None if it need not or cannot be confined."""
        if not options.has_bash or not self._confinement.bwrap:
            return None

        def enclose(argv: Sequence[str], env: Mapping[str, str], temporary: Path) -> Sequence[str]:
            view = View(
                program=claude,
                cwd=cwd,
                writable=[Path(folder) for folder in options.add_dirs],
                readable=[] if resume is None else [resume],
                temporary=temporary,
                hidden=self._secrets,
            )
            return enclosed(self._confinement.bwrap, argv, env, view)

        return enclose

    async def refusal(self, options: ClaudeOptions) -> ApiError | None:
        """Return an error if the folders of a process are no longer the checked ones."""
        if not options.roots:
            return None
        try:
            await self._file_calls.run(check_roots, options.roots)
        except ApiError as error:
            return error
        except trio.TooSlowError:
            return folder_not_available("claude")
        return None
