"""Notes about the use of Claude Code's own tools, for the client's user.

OpenAI's API has no field for tools that a server runs. Clients show reasoning, so a note is a reasoning delta. It names
the tool and its subject, never its result.
"""

import json
from typing import Final

from claude_openai.protocol.turn.events import ReasoningDelta

__all__ = ["tool_note"]

MAX_NOTE_CHARS: Final = 200
_SUBJECTS: Final = ("file_path", "notebook_path", "path", "command", "pattern", "url", "query", "description")


def tool_note(name: str, arguments: str, *, show: bool = True) -> ReasoningDelta:
    """Return the note for a call.

    Args:
        name: the name of the tool.
        arguments: JSON, as Claude wrote it.
        show: False leaves the text empty; the event then only names the tool, for the log.
    """
    if not show:
        return ReasoningDelta("", tool=name)
    subject = _subject(arguments)
    return ReasoningDelta(f"\n[{name}{': ' if subject else ''}{subject}]\n", tool=name)


def _subject(arguments: str) -> str:
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return ""
    found = next((values[key] for key in _SUBJECTS if values.get(key)), "") if isinstance(values, dict) else ""
    line = " ".join(str(found).split())
    return line if len(line) <= MAX_NOTE_CHARS else f"{line[: MAX_NOTE_CHARS - 1]}…"
