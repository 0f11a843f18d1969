"""What a request asks of Claude Code beyond an answer: its own tools, their folders, the effort."""

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
]


ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


PermissionMode: TypeAlias = Literal["acceptEdits", "auto", "bypassPermissions", "default", "plan"]
ToolMode: TypeAlias = Literal["disabled", "readonly", "safe", "all"]
PERMISSION_MODES: Final[tuple[str, ...]] = get_args(PermissionMode)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that was checked, and what tells it from another that takes its name later.

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
class ClaudeOptions:
    """How Claude Code is to work on this request.

    Attributes:
        working_directory: where its own tools work; "" for no particular folder.
        add_dirs: further folders for them.
        tool_mode: which of its own tools it has.
        permission_mode: what they may do unasked; None for the mode that goes with the tools.
        effort: how hard to think; None leaves it to `reasoning_effort`.
        reset_session: do not go on with a live conversation.
        tell_tools: tell the client what the tools do; the server's to say.
        roots: the working folder and the further ones as they were checked; the tools stay inside of them.
        descriptor: open on the working folder for as long as the request.
    """

    working_directory: str = ""
    add_dirs: tuple[str, ...] = ()
    tool_mode: ToolMode = "disabled"
    permission_mode: PermissionMode | None = None
    effort: ReasoningEffort | None = None
    reset_session: bool = False
    show_tool_use: bool = True
    roots: tuple[Root, ...] = ()
    descriptor: int | None = field(default=None, compare=False)

    @property
    def needs_own_process(self) -> bool:
        """Whether a process must have been started for it."""
        return self.has_tools or bool(self.working_directory or self.add_dirs or self.permission_mode)

    @property
    def has_tools(self) -> bool:
        return self.tool_mode != "disabled"

    @property
    def has_bash(self) -> bool:
        """Whether it may run any program, which no check of a path can hold."""
        return self.tool_mode == "all"


NO_CLAUDE_OPTIONS: Final = ClaudeOptions()
