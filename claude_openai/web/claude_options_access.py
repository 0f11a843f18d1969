"""Checks the `claude` object of a request: the client, the tools, the folders and the permission mode must be allowed.

Folders are compared component by component, after symbolic links and `..` are resolved. The turn gets the resolved path
and the identity of the folder, so that another folder cannot be put in its place (`claude/walls/folders`).
"""

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from claude_openai.claude.walls.file_calls import FileCalls
from claude_openai.claude.walls.folders import HeldFolder, folder_not_available, root_of
from claude_openai.config import Config
from claude_openai.errors import Forbidden
from claude_openai.keys.key import Key
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.claude_options import ClaudeOptions, PermissionMode, Root
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.bad_request import wrong_value
from claude_openai.web.http.peer import Address, uid_of_peer

__all__ = ["ClaudeOptionsGuard"]

_PREFERRED_MODES: dict[str, tuple[PermissionMode, ...]] = {
    "readonly": ("default", "plan"),
    "safe": ("acceptEdits", "default", "plan"),
    "all": ("acceptEdits", "default", "plan"),
}
# Shortages of the server, which are not the client's mistake.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class ClaudeOptionsGuard:
    """The checks.

    Attributes:
        config: the settings, with the allowed folders and modes.
        uid_of: returns the user id at the other end of a connection, None if unknown. Blocking.
        calls: runs blocking calls in threads.
        key: the named key of the client; None for the server's own, or none.
    """

    config: Config
    uid_of: Callable[[Address, Address], int | None] = uid_of_peer
    calls: FileCalls = field(default_factory=FileCalls)
    key: Key | None = None

    @asynccontextmanager
    async def admitted(
        self, chat: TurnRequest, client: Address | None, server: Address | None, uid: int | None = None
    ) -> AsyncIterator[TurnRequest]:
        """Check a request. Its working folder is kept open until the block ends.

        Args:
            chat: the request.
            client: the client's address, None if unknown.
            server: the server's address of the connection, None if unknown.
            uid: the client's user id, None if it has to be found by the addresses.

        Raises:
            Forbidden: a field is not allowed; the message names the field and the allowed values.
            BadRequest: an allowed folder does not exist, or the file system does not respond.
        """
        if not chat.options.needs_environment:
            yield chat
            return
        if chat.options.has_tools:
            self._check_tool_mode(chat.options)
            await self._check_caller(client, server, uid)
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
        """Resolve the folders of a request and choose its permission mode. Blocking.

        Args:
            chat: the request.
            held: opens the working folder, if there is one, and keeps it open.

        Raises:
            Forbidden: as `admitted`.
            BadRequest: as `admitted`.
        """
        options = chat.options
        folder = options.working_directory or (self._default_folder() if options.has_tools else "")
        working = [self._root(folder, "claude.workingDirectory", held)] if folder else []
        # Without duplicates, because they become arguments of a command, whose size is limited.
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

    def _check_tool_mode(self, options: ClaudeOptions) -> None:
        if self.key is not None and options.tool_mode not in self.key.tool_modes:
            allowed = ", ".join(("disabled", *self.key.tool_modes))
            raise Forbidden(
                f"The key of {self.key.name!r} may not use 'claude.toolMode' '{options.tool_mode}'; allowed: {allowed}",
                hint="Ask the operator of this server.",
                code="tool_mode_not_allowed",
                param="claude.toolMode",
            )

    async def _check_caller(self, client: Address | None, server: Address | None, uid: int | None) -> None:
        """Without a key, allow Claude's own tools only to the user who runs the server.

        Every user of the machine can connect, and could otherwise use the files of that user.
        """
        if self.config.needs_key or self.config.allowed_working_directory_prefixes:
            return
        if client is not None and server is not None:
            with suppress(trio.TooSlowError):
                uid = await self.calls.run(self.uid_of, client, server)
        if uid != os.geteuid():
            sender = "an unknown user" if uid is None else f"user {uid}"
            raise Forbidden(
                "Without a key, Claude's own tools are only for the user who runs the server, because they use that "
                f"user's files; this request is from {sender}",
                hint="Start the server with a key (--api-key-file), or list the folders that every user of this "
                "machine may use (--allowed-working-directory-prefixes).",
                code="own_tools_not_allowed",
                param="claude.toolMode",
            )

    def _mode(self, options: ClaudeOptions) -> PermissionMode | None:
        allowed = self.config.permission_modes
        requested = options.permission_mode
        if requested is None:
            preferred = _PREFERRED_MODES.get(options.tool_mode, ())
            return next((mode for mode in preferred if mode in allowed), None)
        if requested not in allowed:
            flag = "--allow-bypass-permissions" if requested == "bypassPermissions" else "--allowed-permission-modes"
            raise Forbidden(
                f"'claude.permissionMode' '{requested}' is not allowed; allowed: {', '.join(allowed) or 'none'}",
                hint=f"The server's {flag} allows more.",
                code="permission_mode_not_allowed",
                param="claude.permissionMode",
            )
        if requested == "bypassPermissions" and os.geteuid() == 0:
            raise Forbidden(
                "Claude Code does not allow 'bypassPermissions' for root",
                hint="Run the server as another user.",
                code="permission_mode_not_allowed",
                param="claude.permissionMode",
            )
        return requested

    def _root(self, folder: str, param: str, held: HeldFolder | None = None) -> Root:
        # A path that the system cannot resolve (the name is too long or not in its encoding, the link refers to itself,
        # the folder is not accessible) is the client's mistake.
        expected = "an existing folder that the server may enter"
        try:
            resolved = Path(os.path.realpath(folder))
        except (OSError, ValueError):
            raise wrong_value(param, expected, folder) from None
        prefixes = self._prefixes()
        if not any(resolved.is_relative_to(prefix) for prefix in prefixes):
            allowed = ", ".join(map(str, prefixes)) or "none"
            raise Forbidden(
                f"'{param}' {shorten(folder)} is outside of the allowed folders: {allowed}",
                hint="The server's --allowed-working-directory-prefixes sets them, and the folders of a named key.",
                code="working_directory_not_allowed",
                param=param,
            )
        path = str(resolved)
        try:
            root = root_of(path, param, None if held is None else held.open(path))
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            raise wrong_value(param, expected, folder) from None
        if not os.access(path, os.X_OK):
            raise wrong_value(param, expected, folder)
        return root

    def _default_folder(self) -> str:
        prefixes = self._prefixes()
        if not prefixes:
            raise Forbidden(
                "None of the folders of this key is within the folders that the server allows",
                hint="The server's --allowed-working-directory-prefixes sets them.",
                code="working_directory_not_allowed",
                param="claude.workingDirectory",
            )
        return str(prefixes[0])

    def _prefixes(self) -> list[Path]:
        """Return the folders that the server allows; for a key with folders, what is within both."""
        allowed = _resolved(self.config.allowed_working_directory_prefixes or ["."])
        if self.key is None or not self.key.folders:
            return allowed
        own = _resolved(self.key.folders)
        return [
            *(folder for folder in own if any(folder.is_relative_to(each) for each in allowed)),
            *(folder for folder in allowed if any(folder.is_relative_to(each) for each in own)),
        ]


def _resolved(folders: Iterable[str | Path]) -> list[Path]:
    # Each time: an allowed folder may be a symbolic link whose target changes.
    return [Path(os.path.realpath(folder)) for folder in folders]
