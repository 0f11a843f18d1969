"""Writes a history as the transcript file that Claude Code resumes from, so that Claude gets real turns.

The lines are those of Claude Code's own session files (measured: `claude-code` 2.1.330 loads one from any path, and
neither copies it nor writes to it). The file holds private text: its mode is 0600, and it is removed when the turn
ends.
"""

import itertools
import json
import os
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from claude_openai.claude.transcript.message_form import is_usable_id, made_id, message_form
from claude_openai.protocol.turn.blocks import (
    Block,
    Message,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from claude_openai.threads import run_in_thread

__all__ = ["Notes", "Past", "message_ids", "transcript_file", "transcript_lines", "write_private"]

# Claude Code's own notes, as in its session files.
Notes: TypeAlias = tuple[Mapping[str, Any], ...]

# Claude's API rejects a conversation that begins with the assistant; some clients begin with a greeting.
BEGINNING: Final = Message("user", (TextBlock("(The conversation begins.)"),))
UNSENT: Final = Message("assistant", (TextBlock("-"),))

# Numbers of the lines that are not messages of the client.
_OTHERS: Final = 1 << 31
_COUNTED = re.compile(r"(.+)_\d+")


@dataclass(frozen=True, slots=True)
class Past:
    """What a process resumes from.

    Attributes:
        turns: the history, which may end in the results of tools.
        notes: notes that Claude Code must not send.
    """

    turns: tuple[Message, ...]
    notes: Notes = ()

    def __bool__(self) -> bool:
        return bool(self.turns or self.notes)


@asynccontextmanager
async def transcript_file(folder: Path, past: Past, cwd: Path) -> AsyncIterator[Path | None]:
    """Write a past to a file that exists for the length of the block; yield None if the past is empty.

    Raises:
        OSError: the file cannot be written.
    """
    if not past:
        yield None
        return
    session = str(uuid.uuid4())
    path = folder / f"{session}.jsonl"
    try:
        await run_in_thread(write_private, path, transcript_lines(session, past, cwd))
        yield path
    finally:
        path.unlink(missing_ok=True)


def transcript_lines(session: str, past: Past, cwd: Path) -> Iterator[str]:
    """Yield the lines of the file, each linked to the previous one as its parent."""
    parent: str | None = None
    now = datetime.now(UTC).isoformat()
    for kind, content, this in _entries(session, past):
        entry = {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": str(cwd),
            "sessionId": session,
            "version": "2.1.330",
            "type": kind,
            **content,
            "uuid": this,
            "timestamp": now,
        }
        yield json.dumps(entry, ensure_ascii=True) + "\n"
        parent = this


def message_ids(session: str, turns: Sequence[Message]) -> tuple[str, ...]:
    """Return for each message the id by which a process can be rewound to before it.

    The id is "" where that is impossible: for the assistant's messages, and for results, which belong to their calls.
    """
    return tuple(
        _message_id(session, number) if turn.role == "user" and not turn.has_results else ""
        for number, turn in enumerate(turns)
    )


def _message_id(session: str, number: int) -> str:
    # A random UUID for each line takes a third of the time of all lines. The number comes first, because Claude Code
    # names the blocks of a message by the first 24 characters of its id (`test_rewinding.py`).
    return f"{number:08x}{session[8:]}"


def _entries(session: str, past: Past) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield type, content and id of each line."""
    others = (_message_id(session, number) for number in itertools.count(_OTHERS))
    for note in past.notes:
        # Claude Code sends a note as it was rendered, and nothing for a blank. It would render an empty list again.
        yield "attachment", {"attachment": note, "rendered": [{"content": " "}], "renderedRole": "system"}, next(others)
    # After the first user message Claude Code sends a system message with its attachments. Without any it would send
    # an empty one, which it never does in its own sessions; those have at least the date.
    date = None if past.notes else {"attachment": {"type": "date", "date": time.strftime("%Y-%m-%d")}}
    turns = past.turns
    named = [(_message_id(session, number), turn) for number, turn in enumerate(_with_ids_of_their_own(turns))]
    if turns and turns[0].role == "assistant":
        named.insert(0, (next(others), BEGINNING))
    calls: list[ToolUseBlock] = []
    for this, turn in named:
        yield turn.role, {"message": message_form(turn, this, calls)}, this
        calls = [block for block in turn.blocks if isinstance(block, ToolUseBlock)]
        if turn.role == "user" and date is not None:
            yield "attachment", date, next(others)
            date = None
    if not turns or turns[-1].role == "user":
        # This answer is never sent. It makes Claude Code take what follows as a new turn, not as part of the last one.
        this = next(others)
        yield "assistant", {"message": message_form(UNSENT, this), "isVirtual": True}, this


def _with_ids_of_their_own(turns: Sequence[Message]) -> Iterator[Message]:
    """Yield the messages with unique call ids, because some clients restart their numbering in each message.

    Of equal ids Claude Code keeps only the first, and with an id `x` it loses the result of `x_2` (measured). A result
    belongs to the call of the preceding assistant message.
    """
    free = _FreeIds(block.id for turn in turns for block in turn.blocks if isinstance(block, ToolUseBlock))
    new_ids: dict[str, deque[str]] = {}
    for turn in turns:
        if turn.role == "assistant":
            new_ids = {}
        blocks: list[Block] = []
        for block in turn.blocks:
            match block:
                case ToolUseBlock():
                    new_id = free.take(block.id)
                    new_ids.setdefault(block.id, deque()).append(new_id)
                    blocks.append(block if new_id == block.id else replace(block, id=new_id))
                case ToolResultBlock() if new_ids.get(block.call_id):
                    new_id = new_ids[block.call_id].popleft()
                    blocks.append(block if new_id == block.call_id else replace(block, call_id=new_id))
                case _:
                    blocks.append(block)
        yield replace(turn, blocks=tuple(blocks))


class _FreeIds:
    """Assigns ids to calls: the client's own where it can be used."""

    def __init__(self, call_ids: Iterable[str]) -> None:
        self._call_ids = set(call_ids)
        self._used: set[str] = set()
        self._repeats: Counter[str] = Counter()

    def take(self, call_id: str) -> str:
        new_id = call_id if self._is_good(call_id) else made_id(call_id)
        while new_id in self._used:
            # Count per id: deriving each new id from the previous one would take quadratic time.
            self._repeats[call_id] += 1
            new_id = made_id(f"{call_id} {self._repeats[call_id]}")
        self._used.add(new_id)
        return new_id

    def _is_good(self, call_id: str) -> bool:
        counted = _COUNTED.fullmatch(call_id)
        return is_usable_id(call_id) and not (counted and counted[1] in self._call_ids)


def write_private(path: Path, lines: Iterable[str]) -> None:
    """Write a new file with mode 0600. Blocks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)
