"""Claude Code's own tools by tool mode."""

from collections.abc import Mapping
from typing import Final

from claude_openai.protocol.turn.claude_options import ToolMode

__all__ = ["TOOLS"]


# The built-in tools by mode. Tools that need a person, a terminal or a later time are in none of them.
_READING = ("Read", "Glob", "Grep")
_WRITING = (*_READING, "Edit", "Write", "NotebookEdit")
TOOLS: Final[Mapping[ToolMode, tuple[str, ...]]] = {
    "disabled": (),
    "readonly": _READING,
    "safe": _WRITING,
    "all": (*_WRITING, "Bash", "TaskStop", "WebFetch", "WebSearch", "Agent"),
}
