"""A history as the transcript file that Claude Code resumes from, so that it is given as real turns.

Knows the lines of Claude Code's own session files (measured: `claude-code` 2.1.330 loads one from any path, copies
nothing and writes nothing back). Knows nothing of who asks. The file holds private words: mode 0600, and gone as soon
as the turn is.
"""

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

# Claude Code's own notes, as they stand in its session files.
Notes: TypeAlias = tuple[Mapping[str, Any], ...]

# Claude's API takes no conversation that the assistant begins, as some clients have it with a greeting.
BEGINNING: Final = Message("user", (TextBlock("(The conversation begins.)"),))
UNSENT: Final = Message("assistant", (TextBlock("-"),))

_COUNTED = re.compile(r"(.+)_\d+")


@dataclass(frozen=True, slots=True)
class Past:
    """What a process resumes from.

    Attributes:
        turns: the history, which may end in the results of tools.
        notes: those that Claude Code is not to send.
    """

    turns: tuple[Message, ...]
    notes: Notes = ()

    def __bool__(self) -> bool:
        return bool(self.turns or self.notes)


@asynccontextmanager
async def transcript_file(folder: Path, past: Past, cwd: Path) -> AsyncIterator[Path | None]:
    """Write a past to a new file for as long as the block; None if there is nothing to write.

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
    """The lines of the file, each the child of the one before."""
    parent: str | None = None
    now = datetime.now(UTC)
    for kind, content, number in _entries(past):
        this = str(uuid.uuid4()) if number is None else _message_id(session, number)
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
            "timestamp": now.isoformat(),
        }
        yield json.dumps(entry, ensure_ascii=True) + "\n"
        parent = this


def message_ids(session: str, turns: Sequence[Message]) -> tuple[str, ...]:
    """For each turn the id of its message, by which a process can be taken back to before it.

    It is "" where that is impossible: for the assistant's turns, and for results, which belong to their call.
    """
    return tuple(
        _message_id(session, number) if turn.role == "user" and not turn.has_results else ""
        for number, turn in enumerate(turns)
    )


def _message_id(session: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{session} {number}"))


def _entries(past: Past) -> Iterator[tuple[str, dict[str, Any], int | None]]:
    """Kind and content of each line, and the number of its turn."""
    for note in past.notes:
        # A note is sent as it was rendered, and of a blank nothing is sent. An empty list would be rendered again.
        yield "attachment", {"attachment": note, "rendered": [{"content": " "}], "renderedRole": "system"}, None
    # After the first user turn Claude Code sends a system message of what was attached to it. With nothing attached it
    # sends an empty one, which it never does of its own sessions; the date is the least that those have.
    date = None if past.notes else {"attachment": {"type": "date", "date": time.strftime("%Y-%m-%d")}}
    turns = past.turns
    numbered: list[tuple[int | None, Message]] = list(enumerate(_with_ids_of_their_own(turns)))
    if turns and turns[0].role == "assistant":
        numbered.insert(0, (None, BEGINNING))
    calls: list[ToolUseBlock] = []
    for number, turn in numbered:
        yield turn.role, {"message": message_form(turn, str(uuid.uuid4()), calls)}, number
        calls = [block for block in turn.blocks if isinstance(block, ToolUseBlock)]
        if turn.role == "user" and date is not None:
            yield "attachment", date, None
            date = None
    if not turns or turns[-1].role == "user":
        # An answer that is never sent: what follows it is a new turn, and not the rest of the user's.
        yield "assistant", {"message": message_form(UNSENT, str(uuid.uuid4())), "isVirtual": True}, None


def _with_ids_of_their_own(turns: Sequence[Message]) -> Iterator[Message]:
    """The turns, each call with an id that no other has: some clients count anew in each message.

    Of equal ids Claude Code keeps the first, and with an id `x` it loses the result of any `x_2` (measured). A result
    goes to the call of the assistant turn before it.
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
                    blocks.append(replace(block, id=new_id))
                case ToolResultBlock() if new_ids.get(block.call_id):
                    blocks.append(replace(block, call_id=new_ids[block.call_id].popleft()))
                case _:
                    blocks.append(block)
        yield replace(turn, blocks=tuple(blocks))


class _FreeIds:
    """Ids for calls: the client's own where nothing speaks against it."""

    def __init__(self, given: Iterable[str]) -> None:
        self._given = set(given)
        self._used: set[str] = set()
        self._repeats: Counter[str] = Counter()

    def take(self, given: str) -> str:
        new_id = given if self._is_good(given) else made_id(given)
        while new_id in self._used:
            # Counted: each made of the one before would be looked for along all of them.
            self._repeats[given] += 1
            new_id = made_id(f"{given} {self._repeats[given]}")
        self._used.add(new_id)
        return new_id

    def _is_good(self, given: str) -> bool:
        counted = _COUNTED.fullmatch(given)
        return is_usable_id(given) and not (counted and counted[1] in self._given)


def write_private(path: Path, lines: Iterable[str]) -> None:
    """Write a new file that nobody else can read; blocks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)
