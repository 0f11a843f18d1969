"""The CLI backend: each turn runs in a `claude` process of its own, without the Agent SDK.

This module writes the few frames that a turn needs and decides when its process may exit; `records` and `TurnReader`
interpret the records. The backend keeps no conversations and cannot offer tools: a call waits for its result in a live
process, which needs the SDK backend.
"""

import json
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import trio

from claude_openai.claude.backend import Backend, ClaudeProcess, Emit
from claude_openai.claude.control.frames import message_of, user_frame
from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.control.records import RecordError, effects_of, record_of
from claude_openai.claude.login_watch import LoginWatch
from claude_openai.claude.priming import Primer
from claude_openai.claude.process.free_memory import private_mb
from claude_openai.claude.process.launcher import GRACE_S, Launcher, ProcessSpec
from claude_openai.claude.process.start_errors import start_error, why_not_started
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.transcript.replay import past_of
from claude_openai.claude.transcript.session_file import Past
from claude_openai.claude.walls.hook import ToolGuard
from claude_openai.errors import ApiError, BadRequest
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.claude_code.line_framer import LineFramer, LineTooLong
from claude_openai.protocol.claude_code.signs_of_life import Signs
from claude_openai.protocol.claude_code.spending import ProcessSpending
from claude_openai.protocol.claude_code.structured_output import output_check
from claude_openai.protocol.claude_code.tool_names import own_name
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.turn.events import TurnFailed
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["CliBackend"]

NO_TOOLS = (
    "The CLI backend cannot offer tools to Claude. Start the server with the SDK backend (--backend sdk), or leave out "
    "'tools'."
)


class CliBackend(Backend):
    """Runs each turn in a new `claude` process.

    Args:
        launcher: starts the processes.
        primer: learns the notes that Claude Code would add to a conversation.
        login: looks up the login of Claude Code.
    """

    name = "cli"

    def __init__(self, launcher: Launcher, primer: Primer, login: LoginWatch) -> None:
        self._launcher = launcher
        self._primer = primer
        self._login = login

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._login.run)
            await self._primer.run()

    def status(self) -> Mapping[str, Any]:
        status = self._launcher.status()
        return {**status, "claude": {**status["claude"], **self._primer.status(), "login": self._login.state.value}}

    def note_login(self, *, is_refused: bool) -> None:
        self._login.note_turn(is_refused=is_refused)

    def counts(self) -> Mapping[str, int]:
        return {"processes": self._launcher.processes}

    def processes(self) -> list[ClaudeProcess]:
        return [ClaudeProcess("live", private_mb(pid)) for pid in self._launcher.pids]

    def check(self, request: TurnRequest) -> None:
        if request.tools:
            raise BadRequest(NO_TOOLS, param="tools")
        self._launcher.check(request)

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> None:
        try:
            past = Past(past_of(request), await self._primer.notes_for(request))
            async with self._launcher.transcript(past) as transcript:
                settings = TurnSettings.of(request)
                spawn = self._launcher.spawn(
                    request.claude_model, settings=settings, options=request.options, resume=transcript, log=log
                )
                reader = TurnReader(
                    spawn.login,
                    own_name=own_name,
                    options=request.options,
                    output=output_check(request.output, time.thread_time),
                    conversation="replayed" if past.turns else "new",
                    live=request.stream,
                    stops=request.stop,
                )
                async with spawn.open() as process:
                    await CliTurn(request, process, emit, reader, spawn, log).run()
        except ApiError as error:  # Claude Code is missing, or a folder was replaced
            await emit(TurnFailed(error))
        except OSError as error:
            log.warning("sdk.error", kind="not_started", error=error)
            await emit(TurnFailed(start_error(why_not_started(error))))


class CliTurn:
    """One turn in a newly started process.

    Args:
        request: what to answer.
        process: owned and ended by the caller.
        emit: takes the events.
        reader: reads this turn's records.
        spawn: how the process was started.
        log: bound to the run; raw frames at trace level.
    """

    def __init__(
        self,
        request: TurnRequest,
        process: SupervisedProcess,
        emit: Emit,
        reader: TurnReader,
        spawn: ProcessSpec,
        log: Log,
    ) -> None:
        self._request = request
        self._process = process
        self._emit = emit
        self._reader = reader
        self._guard = spawn.guard
        self._note = spawn.note
        self._log = log
        self._framer = LineFramer()
        self._signs = Signs()
        self._spending = ProcessSpending()
        self._lines: deque[bytes] = deque()
        self._initialized = False
        self._toolbox = ToolServer((), self._write_soon)
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Write the prompt and emit the answer's events; return when the turn is over."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._ask)  # concurrently with reading: a prompt can be longer than both pipes
            await self._answer()
            self._nursery.cancel_scope.cancel(reason="the turn is over")

    async def _ask(self) -> None:
        await self._write(*_frames(self._request, self._guard))

    async def _write(self, *frames: Mapping[str, Any]) -> None:
        await self._write_lines("".join(json.dumps(frame) + "\n" for frame in frames))

    def _write_soon(self, lines: str) -> None:
        self._nursery.start_soon(self._write_lines, lines)

    async def _write_lines(self, lines: str) -> None:
        self._log.trace("cli.write", frame=lines)
        try:
            await self._process.write(lines.encode())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The process closed its input: it is gone, or will never answer. Wait for the end of its output.
            await self._process.why_gone()
            self._process.kill()

    async def _answer(self) -> None:
        try:
            while not self._reader.ended:
                await self._take(await self._next_record())
        except RecordError as error:
            why = str(error)
            self._log.warning("sdk.error", kind="broke_off" if self._initialized else "not_started", error=why)
            not_started = TurnFailed(start_error(why_not_started(error)))
            await self._emit(self._reader.gone(why) if self._initialized else not_started)

    async def _take(self, record: Mapping[str, Any]) -> None:
        self._note(record)
        if self._guard.does_not_ask(record):
            self._process.kill()
        if record.get("type") == "control_response":
            self._note_initialized(record)
            return
        if record.get("type") == "control_request":
            if self._guard.takes(record):
                self._nursery.start_soon(self._answer_question, record)
            else:
                # Before it continues from tool results, Claude Code lists the tools; there are none.
                self._toolbox.control_request(record)
            return
        report = self._spending.take(record)
        if report is not None:
            self._emit.report(report)
        effects = await effects_of(record, self._reader)
        if self._reader.state is State.STOPPED:
            self._process.kill()  # 20 ms later Claude Code makes another call
        for effect in effects:
            await self._carry_out(effect)
        if self._reader.state is State.IDLE:
            await self._process.stop(grace_s=GRACE_S)

    async def _answer_question(self, record: Mapping[str, Any]) -> None:
        await self._write(await self._guard.answer(record))

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AnswerCall():
                pass  # a call of a tool that does not exist; Claude Code answers it
            case AskClaude(text):
                self._reader.ask_again()
                self._nursery.start_soon(self._write, user_frame([{"type": "text", "text": text}]))
            case _:
                await self._emit(effect)

    def _note_initialized(self, record: Mapping[str, Any]) -> None:
        response = record.get("response") or {}
        if response.get("subtype") == "error":
            raise RecordError(f"it refused `initialize`: {response.get('error')}")
        self._initialized = True

    async def _next_record(self) -> dict[str, Any]:
        """Return the next record, read from the process if necessary.

        Raises:
            RecordError: the output ended or is invalid.
        """
        record = None
        while record is None:
            while not self._lines:
                self._lines.extend(await self._next_lines())
            record = record_of(self._lines.popleft(), self._log)
        self._log.trace("cli.message", frame=record)
        sign = self._signs.read(record)
        if sign is not None:
            self._emit.alive(sign.what, sign.for_s)
        return record

    async def _next_lines(self) -> list[bytes]:
        chunk = await self._process.read()
        if not chunk:
            # An end of output before the turn's result is an error; after the result nothing is read.
            raise RecordError(await self._process.why_gone())
        try:
            return self._framer.feed(chunk)
        except LineTooLong as error:
            raise RecordError(str(error)) from error


def _frames(request: TurnRequest, guard: ToolGuard) -> list[dict[str, Any]]:
    """Return the frames of the system prompt and of the message to answer."""
    bind: dict[str, Any] = {"subtype": "initialize", "systemPrompt": [request.system], **guard.hooks()}
    if request.output is not None:
        bind["jsonSchema"] = request.output.for_claude()
    return [{"type": "control_request", "request_id": "req_1", "request": bind}, user_frame(message_of(request.prompt))]
