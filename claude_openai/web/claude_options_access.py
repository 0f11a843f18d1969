"""What the `claude` object of a request may ask for: which clients, which folders, which permission modes.

Folders are compared after every symbolic link and `..` is resolved, component by component. What is passed on is the
resolved path and the identity of the folder, so that another folder cannot take its place (`claude/walls/folders`).
Knows the file system and the settings, not Claude.
"""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from claude_openai.claude.walls.file_calls import FileCalls
from claude_openai.claude.walls.folders import HeldFolder, folder_not_available, root_of
from claude_openai.config import Config
from claude_openai.errors import Forbidden
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.openai.bad_request import wrong_value
from claude_openai.protocol.turn.claude_options import ClaudeOptions, PermissionMode, Root
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.web.http.peer import Address, uid_of_peer

__all__ = ["ClaudeOptionsGuard"]

_PREFERRED_MODES: dict[str, tuple[PermissionMode, ...]] = {
    "readonly": ("default", "plan"),
    "safe": ("acceptEdits", "default", "plan"),
    "all": ("acceptEdits", "default", "plan"),
}
# Of the server, not faults of the folder.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class ClaudeOptionsGuard:
    """The checks.

    Attributes:
        config: says what is allowed.
        uid_of: gives the user at the other end of a connection, None if unknown. Blocking.
        calls: runs what blocks.
    """

    config: Config
    uid_of: Callable[[Address, Address], int | None] = uid_of_peer
    calls: FileCalls = field(default_factory=FileCalls)

    @asynccontextmanager
    async def admitted(
        self, chat: TurnRequest, client: Address | None, server: Address | None
    ) -> AsyncIterator[TurnRequest]:
        """Check a request; its working folder is kept open for as long as the block.

        Args:
            chat: the request.
            client: the other end of its connection, None if unknown.
            server: our end of its connection, None if unknown.

        Raises:
            Forbidden: with the field, and what is allowed.
            BadRequest: an allowed folder does not exist, or the file system does not answer.
        """
        if not chat.options.needs_own_process:
            yield chat
            return
        if chat.options.has_tools:
            await self._check_caller(client, server)
        held = HeldFolder()
        try:
            try:
                checked = await self.calls.run(self.checked, chat, held)
            except trio.TooSlowError:
                raise folder_not_available("claude") from None
            yield checked
        finally:
            held.close()

    def checked(self, chat: TurnRequest, held: HeldFolder) -> TurnRequest:
        """Resolve the folders of a request and choose its mode. Blocking; raises what `admitted` does.

        Args:
            chat: the request.
            held: opens the working folder, if there is one.
        """
        options = chat.options
        asked = options.working_directory or (str(self._prefixes()[0]) if options.has_tools else "")
        working = [self._root(asked, "claude.workingDirectory", held)] if asked else []
        # Each once: they become arguments of a command, whose size is limited.
        roots = (self._root(each, f"claude.addDirs[{index}]") for index, each in enumerate(options.add_dirs))
        further = list(dict.fromkeys(roots))
        resolved = replace(
            options,
            working_directory=working[0].path if working else "",
            add_dirs=tuple(root.path for root in further),
            permission_mode=self._mode(options),
            show_tool_use=self.config.show_tool_use,
            roots=(*working, *further),
            descriptor=held.descriptor,
        )
        return replace(chat, options=resolved)

    async def _check_caller(self, client: Address | None, server: Address | None) -> None:
        """Without a key, every user of this machine reaches the server, and could use the files of its user."""
        if self.config.api_key is not None or self.config.allowed_working_directory_prefixes:
            return
        uid = None
        if client is not None and server is not None:
            with suppress(trio.TooSlowError):
                uid = await self.calls.run(self.uid_of, client, server)
        if uid != os.geteuid():
            who = "it cannot be told which user sent this request" if uid is None else f"user {uid} sent this request"
            raise Forbidden(
                "Claude's own tools work with the files of the user who runs the server, so without a key they are for "
                f"that user only, and {who}. Start the server with a key (--api-key-file), or name the folders that "
                "everybody on this machine may use (--allowed-working-directory-prefixes).",
                code="own_tools_not_allowed",
                param="claude.toolMode",
            )

    def _mode(self, options: ClaudeOptions) -> PermissionMode | None:
        allowed = self.config.permission_modes
        asked = options.permission_mode
        if asked is None:
            preferred = _PREFERRED_MODES.get(options.tool_mode, ())
            return next((mode for mode in preferred if mode in allowed), None)
        if asked not in allowed:
            flag = "--allow-bypass-permissions" if asked == "bypassPermissions" else "--allowed-permission-modes"
            raise Forbidden(
                f"'claude.permissionMode' may not be '{asked}'; allowed are {', '.join(allowed) or 'none'}. "
                f"The server's {flag} allows more.",
                code="permission_mode_not_allowed",
                param="claude.permissionMode",
            )
        if asked == "bypassPermissions" and os.geteuid() == 0:
            raise Forbidden(
                "Claude Code refuses 'bypassPermissions' to root. Run the server as another user.",
                code="permission_mode_not_allowed",
                param="claude.permissionMode",
            )
        return asked

    def _root(self, asked: str, param: str, held: HeldFolder | None = None) -> Root:
        # Whatever the system refuses to look up (a name that is too long, or not of its encoding; a link to itself; a
        # folder without permission) is the client's mistake.
        expected = "a folder that exists and that the server may enter"
        try:
            resolved = Path(os.path.realpath(asked))
        except (OSError, ValueError):
            raise wrong_value(param, expected, asked) from None
        prefixes = self._prefixes()
        if not any(resolved.is_relative_to(prefix) for prefix in prefixes):
            raise Forbidden(
                f"'{param}' {shorten(asked)} is outside of the allowed folders: {', '.join(map(str, prefixes))}. "
                "The server's --allowed-working-directory-prefixes names them.",
                code="working_directory_not_allowed",
                param=param,
            )
        path = str(resolved)
        try:
            root = root_of(path, param, None if held is None else held.open(path))
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            raise wrong_value(param, expected, asked) from None
        if not os.access(path, os.X_OK):
            raise wrong_value(param, expected, asked)
        return root

    def _prefixes(self) -> list[Path]:
        # Resolved anew each time: an allowed folder may itself be a link that is moved on.
        return [Path(os.path.realpath(prefix)) for prefix in self.config.allowed_working_directory_prefixes or ["."]]
