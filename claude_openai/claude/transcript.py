"""A history as the transcript file that Claude Code resumes from, so that it is given as real turns.

Knows the lines of Claude Code's own session files (measured: `claude-code` 2.1.330 loads one from any path, copies
nothing and writes nothing back). Knows nothing of who asks. The file holds private words: mode 0600, and gone as soon
as the turn is.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from claude_openai.protocol.history import Turn

__all__ = ["transcript_file", "transcript_lines"]


@asynccontextmanager
async def transcript_file(folder: Path, turns: Sequence[Turn], cwd: Path) -> AsyncIterator[Path | None]:
    """Write the turns to a new file for as long as the block; None if there are no turns.

    Raises:
        OSError: the file cannot be written.
    """
    if not turns:
        yield None
        return
    session = str(uuid.uuid4())
    path = folder / f"{session}.jsonl"
    try:
        await trio.to_thread.run_sync(_write, path, list(transcript_lines(session, turns, cwd)))
        yield path
    finally:
        path.unlink(missing_ok=True)


def transcript_lines(session: str, turns: Sequence[Turn], cwd: Path) -> Iterator[str]:
    """The lines of the file, each the child of the one before."""
    parent: str | None = None
    for turn in turns:
        this = str(uuid.uuid4())
        entry = {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": str(cwd),
            "sessionId": session,
            "version": "2.1.330",
            "type": turn.role,
            "message": _message(turn, this),
            "uuid": this,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        yield json.dumps(entry, ensure_ascii=True) + "\n"
        parent = this


def _message(turn: Turn, ident: str) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": turn.role,
        "content": [{"type": "text", "text": block.text} for block in turn.blocks],
    }
    if turn.role == "assistant":
        message |= {
            "id": f"msg_{ident.replace('-', '')[:24]}",
            "type": "message",
            "model": "claude",
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
    return message


def _write(path: Path, lines: Sequence[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)
