"""What the `claude` object of a request may ask for: the folders and the permission modes that the server allows.

Folders are compared after every symbolic link and `..` is resolved, component by component, and what goes on to Claude
Code is the resolved path, so that nothing is resolved twice. Knows the file system and the settings, not Claude.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from claude_openai.config import Config
from claude_openai.errors import Forbidden
from claude_openai.protocol.agent import Agent, PermissionMode
from claude_openai.protocol.refusals import shorten, wrong_value
from claude_openai.protocol.request import ChatRequest

__all__ = ["AgentGuard"]

_PREFERRED_MODES: dict[str, tuple[PermissionMode, ...]] = {
    "readonly": ("default", "plan"),
    "safe": ("acceptEdits", "default", "plan"),
    "all": ("acceptEdits", "default", "plan"),
}


@dataclass(frozen=True, slots=True)
class AgentGuard:
    """The checks. `config` says what is allowed."""

    config: Config

    def checked(self, chat: ChatRequest) -> ChatRequest:
        """The request with its folders resolved and its mode chosen.

        Raises:
            Forbidden: naming the key, and what is allowed.
            BadRequest: an allowed folder does not exist.
        """
        agent = chat.agent
        folder = self._folder(agent.working_directory, "claude.workingDirectory") if agent.working_directory else ""
        if agent.has_tools and not folder:
            folder = str(self._prefixes()[0])
        dirs = (self._folder(each, f"claude.addDirs[{index}]") for index, each in enumerate(agent.add_dirs))
        # Each once: they become arguments of a command, whose size is limited.
        folders = tuple(dict.fromkeys(dirs))
        resolved = replace(agent, working_directory=folder, add_dirs=folders, permission_mode=self._mode(agent))
        resolved = replace(resolved, tell_tools=self.config.show_tool_use)
        return replace(chat, agent=resolved) if resolved != agent else chat

    def _mode(self, agent: Agent) -> PermissionMode | None:
        allowed = self.config.permission_modes
        asked = agent.permission_mode
        if asked is None:
            preferred = _PREFERRED_MODES.get(agent.tool_mode, ())
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

    def _folder(self, asked: str, param: str) -> str:
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
        if not os.path.isdir(resolved) or not os.access(resolved, os.X_OK):  # noqa: PTH112 - Path's raises
            raise wrong_value(param, expected, asked)
        return str(resolved)

    def _prefixes(self) -> list[Path]:
        # Resolved anew each time: an allowed folder may itself be a link that is moved on.
        return [Path(os.path.realpath(prefix)) for prefix in self.config.allowed_working_directory_prefixes or ["."]]
