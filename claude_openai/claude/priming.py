"""Learns Claude Code's own notes from the installed CLI, so that a process can be primed to send none of them.

Claude Code adds notes to a conversation: the environment, the model, the date. It omits a note that is already in the
transcript it resumes from, and repeats that note in the form in which it was `rendered`. So a process that resumes from
the same notes, each rendered as a blank, sends only the client's conversation (from `LEAST_EXACT` on;
`tests/real/claude/test_priming.py` shows it on the bundled CLI).

The content of the notes depends on the CLI, the working folder and the model, so they are learnt: the CLI runs one turn
against a stand-in for Claude's API on loopback, and the notes are read from its session file. This takes about half a
second for each model, once a day, and makes no call to Claude. A second turn, primed with the notes, then checks that
the CLI adds nothing. If it does, the notes are learnt and checked once more.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import trio

from claude_openai.claude.control.frames import user_frame
from claude_openai.claude.control.records import RecordError, record_of
from claude_openai.claude.process.launcher import GRACE_S, Launcher
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.claude.process.version import LEAST, RENEW, Version, parse_version, shortcoming, show_version
from claude_openai.claude.transcript.session_file import Notes, Past
from claude_openai.errors import ClaudeMissing, leaves
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.line_framer import LineFramer
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.threads import run_in_thread

__all__ = ["Primer", "StandIn", "today"]

# A turn against the stand-in takes half a second; the bound is for a very busy machine.
PROBE_S: Final = 30.0
# A bound, because clients may send any plausible model name.
MAX_MODELS: Final = 32
# After this wait a turn runs without being primed.
WAIT_S: Final = 5.0
# After a failed probe.
PRIMING_RETRY_S: Final = 300.0
# Lets the turn that waited for the notes run first.
CHECK_DELAY_S: Final = 5.0
PRIMING_PROMPT: Final = "x"

# Model, program, local date.
_Key: TypeAlias = tuple[str, tuple[object, ...], str]


class _Request(Protocol):
    @property
    def messages(self) -> list[dict[str, Any]]: ...


class StandIn(Protocol):
    """A stand-in for Claude's API: its address and the requests that it received."""

    @property
    def base_url(self) -> str: ...

    @property
    def requests(self) -> Sequence[_Request]: ...


class Primer:
    """Holds the notes of each model; `run` learns the missing ones.

    Args:
        launcher: starts the processes.
        stand_in: a context manager that runs a stand-in, which answers with a short text.
        log: records what was learnt and what failed.
        on_outdated: called with what Claude Code lacks, on one line, as soon as the version is known, and again for
            another version; None to learn the version from the first turn.
    """

    def __init__(
        self,
        launcher: Launcher,
        stand_in: Callable[[], AbstractAsyncContextManager[StandIn]],
        log: Log,
        on_outdated: Callable[[str], None] | None = None,
    ) -> None:
        self._launcher = launcher
        self._stand_in = stand_in
        self._log = log
        self._on_outdated = on_outdated
        self._known: dict[_Key, Notes] = {}
        self._failed_at: dict[_Key, float] = {}
        self._learning: dict[_Key, trio.Event] = {}
        self._learnt_again: set[_Key] = set()
        self._last_version = ""
        self._version: tuple[Version, tuple[object, ...]] | None = None
        self._to_learn, self._wanted = trio.open_memory_channel[_Key](math.inf)
        self._to_check, self._learnt = trio.open_memory_channel[_Key](math.inf)

    async def run(self) -> None:
        """Learn requested notes, and check them some time later, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_all)
            if self._on_outdated is not None:
                nursery.start_soon(self._check_version)
            # One at a time: concurrent probes would only slow each other down.
            async for key in self._wanted:
                await self._learn(key)
                self._learning.pop(key).set()
                if key in self._failed_at:
                    await self._check_version()  # a version that is too old cannot run the turn

    def status(self) -> Mapping[str, Any]:
        """Return fields for a backend's status, if Claude Code is older than recommended.

        `outdated` is what it lacks. With `too_old` every turn fails.
        """
        if self._version is None:
            return {}
        version, program = self._version
        try:
            if program != self._program():  # it was replaced, and its version is not known yet
                return {}
        except ClaudeMissing:
            return {}
        lacks = shortcoming(version)
        return {"outdated": f"Claude Code {lacks}; {RENEW}", "too_old": version < LEAST} if lacks else {}

    async def notes_for(self, request: TurnRequest) -> Notes:
        """Return the notes for the process that answers a request.

        A request with Claude's own tools gets none: there Claude needs the environment that the notes describe.

        Raises:
            ClaudeMissing: Claude Code is not installed.
        """
        return () if request.options.needs_environment else await self.notes(request.claude_model)

    async def notes(self, model: str) -> Notes:
        """Return the notes for a process of this model; none, which leaves it unprimed, if they cannot be learnt.

        Raises:
            ClaudeMissing: Claude Code is not installed.
        """
        key = self._key(model)
        if key not in self._known and trio.current_time() >= self._failed_at.get(key, -math.inf) + PRIMING_RETRY_S:
            learnt = self._request(key)
            with trio.move_on_after(WAIT_S):
                await learnt.wait()
        return self._known.get(key, ())

    def _request(self, key: _Key) -> trio.Event:
        """Have notes learnt; return an event that is set after the attempt."""
        if key not in self._learning:
            self._learning[key] = trio.Event()
            self._to_learn.send_nowait(key)
        return self._learning[key]

    async def _check_all(self) -> None:
        async for key in self._learnt:
            await trio.sleep(CHECK_DELAY_S)
            notes = self._known.get(key)
            if notes is None or not self._is_current(key):
                continue
            added: list[str] = []
            try:
                added = await self._added(key[0], notes)
            except* Exception as group:  # noqa: BLE001 - see `_learn`
                self._note_failure(key, group)
            if added and self._is_current(key):
                self._log.warning("priming.incomplete", model=key[0], added=added)
                self._learn_again(key)

    def _learn_again(self, key: _Key) -> None:
        """Have notes learnt and checked once more, but not a third time."""
        if key not in self._learnt_again:
            self._learnt_again = {again for again in self._learnt_again if again[1:] == key[1:]} | {key}
            self._request(key)

    def _is_current(self, key: _Key) -> bool:
        """Return whether the notes of a key are still used: not those of a replaced program or an earlier day."""
        try:
            return key == self._key(key[0])
        except ClaudeMissing:
            return False

    def _key(self, model: str) -> _Key:
        """Return everything that the notes depend on and that can change while the server runs."""
        return model, self._program(), today()

    def _program(self) -> tuple[object, ...]:
        """Return the program, in a form that changes when it is replaced.

        Raises:
            ClaudeMissing: Claude Code is not installed.
        """
        program = self._launcher.program()
        try:
            found = program.stat()
        except OSError:
            return (program,)
        return program, found.st_ino, found.st_size, found.st_mtime_ns

    async def _learn(self, key: _Key) -> None:
        began = trio.current_time()
        try:
            notes = await self._probe(key[0])
            if not self._is_current(key):
                return  # each request from now on has another key
            # Drop the notes of earlier days and of replaced programs: they are not used again.
            current = [learnt for learnt in self._known if learnt[1:] == key[1:]]
            self._known = {learnt: self._known[learnt] for learnt in current[1 - MAX_MODELS :]}
            self._known[key] = notes
            self._log.debug("priming.learnt", model=key[0], notes=len(notes), ms=_ms_since(began))
            self._to_check.send_nowait(key)
        except* Exception as group:  # noqa: BLE001 - turns are answered without notes then
            now = trio.current_time()
            self._failed_at = {failed: at for failed, at in self._failed_at.items() if now < at + PRIMING_RETRY_S}
            self._failed_at[key] = now
            self._note_failure(key, group)

    def _note_failure(self, key: _Key, group: BaseExceptionGroup[Any]) -> None:
        self._log.warning("priming.failed", model=key[0], error="; ".join(str(error) for error in leaves(group)))

    async def _check_version(self) -> None:
        try:
            program, version = self._program(), await self._launcher.version()
            if version is not None:
                self._note_version(show_version(version), program)
        except* (ClaudeMissing, OSError):
            pass  # turns and `doctor` report it

    def _note_version(self, version: str, program: tuple[object, ...]) -> None:
        """Warn once for each version, because the program may be replaced while the server runs."""
        last, self._last_version = self._last_version, version
        parsed = parse_version(version)
        if parsed is not None:
            self._version = parsed, program
        if version != last and parsed is not None and (lacks := shortcoming(parsed)):
            self._log.warning("claude.outdated", message=lacks)
            if self._on_outdated is not None:
                self._on_outdated(lacks)

    async def _probe(self, model: str) -> Notes:
        """Run one turn, and return the notes that Claude Code wrote into its session file."""
        async with self._stand_in() as api, self._launcher.temporary_folder() as config_folder:
            await self._turn(model, api, config_folder, resume=None)
            return await run_in_thread(_notes_in, config_folder)

    async def _added(self, model: str, notes: Notes) -> list[str]:
        """Run one turn primed with the notes, and return the texts that Claude Code sent besides the prompt."""
        async with (
            self._stand_in() as api,
            self._launcher.temporary_folder() as config_folder,
            self._launcher.transcript(Past((), notes)) as transcript,
        ):
            await self._turn(model, api, config_folder, resume=transcript)
            texts = [text for request in api.requests for message in request.messages for text in _texts(message)]
            return [text for text in texts if text != PRIMING_PROMPT]

    async def _turn(self, model: str, api: StandIn, config_folder: Path, *, resume: Path | None) -> None:
        program = self._program()
        spawn = self._launcher.spawn_probe(model, base_url=api.base_url, config_folder=config_folder, resume=resume)
        with trio.fail_after(PROBE_S):
            async with spawn.open() as process:
                await process.write(_frames())
                self._note_version(await _until_result(process, spawn.note, self._log), program)
                await process.stop(grace_s=GRACE_S)  # the session file is complete when the process exits


async def _until_result(process: SupervisedProcess, note: Callable[[Mapping[str, Any]], None], log: Log) -> str:
    """Read records up to the turn's result; return Claude Code's version, "" if no record has it."""
    framer, version = LineFramer(), ""
    while chunk := await process.read():
        for line in framer.feed(chunk):
            record = record_of(line, log) or {}
            note(record)
            version = record.get("claude_code_version") or version
            if record.get("type") == "result":
                if record.get("is_error"):
                    raise RecordError(f"the turn failed: {record.get('result')}")
                return str(version)
    raise RecordError(await process.why_gone())


def _frames() -> bytes:
    initialize = {"subtype": "initialize", "hooks": None, "systemPrompt": [""]}
    begin = {"type": "control_request", "request_id": "req_1", "request": initialize}
    frames = (begin, user_frame([{"type": "text", "text": PRIMING_PROMPT}]))
    return "".join(json.dumps(frame) + "\n" for frame in frames).encode()


def _notes_in(config_folder: Path) -> Notes:
    lines = [line for path in config_folder.glob("projects/*/*.jsonl") for line in path.read_text("utf-8").splitlines()]
    entries = [json.loads(line) for line in lines]
    return tuple(entry["attachment"] for entry in entries if entry["type"] == "attachment" and entry.get("rendered"))


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content")
    return [content] if isinstance(content, str) else [str(block.get("text")) for block in content or ()]


def today() -> str:
    """Return the local date; Claude Code sends it to Claude whenever it changes."""
    return time.strftime("%Y-%m-%d")


def _ms_since(began: float) -> int:
    return round(1000 * (trio.current_time() - began))
