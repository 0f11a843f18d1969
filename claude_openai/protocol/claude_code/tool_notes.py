"""What Claude Code does with its own tools, in a line for the one who waits.

OpenAI's API has no place for tools that a server runs; clients show reasoning, so the note is a piece of it. It tells
the tool and what it is about, never what came of it.
"""

import json
from typing import Final

from claude_openai.protocol.turn.events import ReasoningDelta

__all__ = ["tool_note"]

MAX_NOTE_CHARS: Final = 200
_SUBJECTS: Final = ("file_path", "notebook_path", "path", "command", "pattern", "url", "query", "description")


def tool_note(name: str, arguments: str, *, told: bool = True) -> ReasoningDelta:
    """The note for a call.

    Args:
        name: of the tool.
        arguments: JSON, as Claude wrote it.
        told: False leaves the text out; the log still hears of the tool.
    """
    if not told:
        return ReasoningDelta("", tool=name)
    subject = _subject(arguments)
    return ReasoningDelta(f"\n[{name}{': ' if subject else ''}{subject}]\n", tool=name)


def _subject(arguments: str) -> str:
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        return ""
    found = next((given[key] for key in _SUBJECTS if given.get(key)), "") if isinstance(given, dict) else ""
    line = " ".join(str(found).split())
    return line if len(line) <= MAX_NOTE_CHARS else f"{line[: MAX_NOTE_CHARS - 1]}…"
