"""A backend that plays a script as Claude Code would, without the program.

The answers are encoded as Claude's API would send them (`standin/wire.py`), turned into the records of Claude Code
(`claude_records`), and read by `TurnReader` as the real ones are. So usage, thinking, calls, errors and broken streams
come out as from the real backends. It reads only trio's clock, and starts no thread.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

import trio

from claude_openai.claude.backend import Backend, Emit
from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.control.records import effects_of_record
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.call_policies import CallRequired, OneCallOnly
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.claude_code.signs_of_life import Signs
from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT, output_check
from claude_openai.protocol.claude_code.tool_names import own_name
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.turn.events import TurnFailed
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.standin.script import Answer, Pause, Wait
from claude_openai.standin.wire import AnswerIdentity
from claude_openai.testing.answers import Answers, ScriptFailed
from claude_openai.testing.claude_records import Ending, MessageEnd, Record, played, result_record, user_record
from claude_openai.testing.fitness import next_answer
from claude_openai.testing.recorder import current_exchange

__all__ = ["FakeBackend"]

LOGIN: Final = "claude auth login"
# The process's words in the error of a turn whose process was killed.
KILLED: Final = "it ended with exit status -9"


class FakeBackend(Backend):
    """Plays a script.

    Args:
        answers: the script.
    """

    name = "fake"

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._numbers = count(1)

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> None:
        """Play the next answers; see `Backend.turn`."""
        await _FakeTurn(self._answers, self._numbers, request, emit, log).run()


class _FakeTurn:
    """One turn, with as many answers of the script as Claude Code would request."""

    def __init__(self, answers: Answers, numbers: Iterator[int], request: TurnRequest, emit: Emit, log: Log) -> None:
        self._answers = answers
        self._numbers = numbers
        self._request = request
        self._emit = emit
        self._log = log
        self._signs = Signs()
        must_call = request.tool_choice.mode == "required"
        self._call_required = CallRequired() if must_call else None
        self._one_call_only = None if request.parallel_tool_calls else OneCallOnly()
        self._output = output_check(request.output, time.thread_time)
        self._nudged = False
        self._reader = TurnReader(
            LOGIN,
            check=ToolServer(request.tools, lambda _line: None).problem,
            own_name=own_name,
            options=request.options,
            output=self._output,
            must_call=must_call,
            conversation="replayed" if request.turns else "new",
            live=request.stream and not must_call,
            stops=request.stop,
        )

    async def run(self) -> None:
        """Play until the turn has ended."""
        try:
            while not self._reader.ended:
                await self._end(await self._play(next_answer(self._answers, current_exchange().request, self._request)))
        except ScriptFailed as error:
            await self._emit(TurnFailed(error))

    async def _play(self, answer: Answer) -> MessageEnd:
        number = next(self._numbers)
        identity = AnswerIdentity(self._request.claude_model, f"msg_{number:024d}", f"req_{number:024d}")
        steps = played(answer, identity)
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                end: MessageEnd = stop.value
                return end
            if isinstance(step, Mapping):
                await self._take(step)
                if self._reader.ended:
                    return MessageEnd(Ending.FAILED)
            else:
                await _wait(step)

    async def _end(self, end: MessageEnd) -> None:
        """Do what Claude Code does after a message."""
        if self._reader.ended:
            return
        match end.ending:
            case Ending.DIED:
                self._log.warning("sdk.error", kind="broke_off", error=KILLED)
                await self._emit(self._reader.gone(KILLED))
            case Ending.BROKEN if self._answers.exhausted:
                await self._take_all(end.records_of_failure)
            case Ending.COMPLETE:
                await self._take_all(self._after(end))

    def _after(self, end: MessageEnd) -> Sequence[Record]:
        """Return the records after a complete message that did not end the turn."""
        if self._output is not None:
            return self._after_output(end, self._output(_object(dict(end.calls).get(STRUCTURED_OUTPUT, ""))))
        if self._reader.state is State.ANSWERED or end.stop_reason == "pause_turn":
            return [result_record(end.text)]
        return [] if end.calls else [user_record("[Your previous response had no visible output.]")]

    def _after_output(self, end: MessageEnd, problem: str | None) -> Sequence[Record]:
        if problem is None:
            return [result_record(structured=_object(dict(end.calls)[STRUCTURED_OUTPUT]))]
        if end.calls:  # Claude Code answers the call with the problem
            return []
        if self._nudged:
            return [result_record(end.text)]
        self._nudged = True
        return [user_record("[structured-output-enforce] You MUST call the StructuredOutput tool.")]

    async def _take_all(self, records: Sequence[Record]) -> None:
        for record in records:
            await self._take(record)

    async def _take(self, record: Record) -> None:
        self._log.trace("cli.message", frame=record)
        sign = self._signs.read(record)
        if sign is not None:
            self._emit.alive(sign.what, sign.for_s)
        for effect in self._filtered(effects_of_record(record, self._reader)):
            match effect:
                case AnswerCall():
                    pass
                case AskClaude():
                    self._reader.ask_again()
                case _:
                    await self._emit(effect)

    def _filtered(self, effects: Sequence[Effect]) -> Iterator[Effect]:
        required, one_only = self._call_required, self._one_call_only
        for effect in effects:
            wanted = [effect] if required is None else required.filter(effect, asked_again=self._reader.asked_again)
            for each in wanted:
                yield from [each] if one_only is None else one_only.filter(each)


async def _wait(wait: Wait) -> None:
    if not isinstance(wait, Pause):
        await trio.sleep_forever()
    elif isinstance(wait.until, int | float):
        await trio.sleep(wait.until)
    else:
        await wait.until.wait()


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
