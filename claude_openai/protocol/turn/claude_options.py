"""Options of Claude Code in a request: its own tools, their folders, the effort, fast mode."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

__all__ = [
    "NO_CLAUDE_OPTIONS",
    "PERMISSION_MODES",
    "ClaudeOptions",
    "PermissionMode",
    "ReasoningEffort",
    "Root",
    "ToolMode",
    "WebSearch",
]


ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


PermissionMode: TypeAlias = Literal["acceptEdits", "auto", "bypassPermissions", "default", "plan"]
ToolMode: TypeAlias = Literal["disabled", "readonly", "safe", "all"]
PERMISSION_MODES: Final[tuple[str, ...]] = get_args(PermissionMode)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that was checked, and its identity, to detect another folder that is put in its place later.

    Attributes:
        path: absolute, without symbolic links.
        device: `st_dev` of the folder.
        inode: `st_ino` of the folder.
        param: the field of the request that names it.
    """

    path: str
    device: int
    inode: int
    param: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class WebSearch:
    """Claude Code's tool WebSearch, with the limits of a request.

    Attributes:
        allowed_domains: only results of these domains and their subdomains; none for all.
        max_uses: searches in one answer; None for no limit.
    """

    allowed_domains: tuple[str, ...] = ()
    max_uses: int | None = None


@dataclass(frozen=True, slots=True)
class ClaudeOptions:
    """Options of Claude Code for one request.

    Attributes:
        working_directory: the working folder of Claude Code's tools; "" for no particular folder.
        add_dirs: further folders for the tools.
        tool_mode: which of Claude Code's tools are enabled.
        permission_mode: what the tools may do without permission; None for the default of the tool mode.
        effort: the level of thinking; None for `reasoning_effort`.
        fast_mode: use fast mode, which costs more, if the account has it.
        reset_session: do not continue a live conversation.
        show_tool_use: whether the client gets notes about the use of tools; set by the server's configuration.
        roots: the working folder and the further ones as they were checked; the tools stay inside of them.
        descriptor: open on the working folder for as long as the request.
        web_search: offers WebSearch, in every tool mode; from OpenAI's fields, not from the `claude` object.
    """

    working_directory: str = ""
    add_dirs: tuple[str, ...] = ()
    tool_mode: ToolMode = "disabled"
    permission_mode: PermissionMode | None = None
    effort: ReasoningEffort | None = None
    fast_mode: bool = False
    reset_session: bool = False
    show_tool_use: bool = True
    roots: tuple[Root, ...] = ()
    descriptor: int | None = field(default=None, compare=False)
    web_search: WebSearch | None = None

    @property
    def needs_own_process(self) -> bool:
        """Return whether these options can only be set when a process starts."""
        return self.needs_environment or self.web_search is not None

    @property
    def needs_environment(self) -> bool:
        """Return whether Claude Code works in folders of the request, which its own notes describe."""
        return self.has_tools or bool(self.working_directory or self.add_dirs or self.permission_mode)

    @property
    def has_tools(self) -> bool:
        return self.tool_mode != "disabled"

    @property
    def runs_tools(self) -> bool:
        """Return whether Claude Code runs tools within the turn, so that Claude sees more of it than the client."""
        return self.has_tools or self.web_search is not None

    @property
    def has_bash(self) -> bool:
        """Return whether Claude Code may run any program, for which checks of paths are not enough."""
        return self.tool_mode == "all"


NO_CLAUDE_OPTIONS: Final = ClaudeOptions()
