"""A backend whose turns are scripts, for tests of timing, faults and clocks without Claude Code.

    backend = ScriptedBackend(full_turn("Hel", Pause(2), "lo"))
    urls = await nursery.start(partial(serve, Config(port=0), backend=backend))

It sends the program's own events unchanged, also in an invalid order, and records the outcome of each turn. It starts
no process and reads only trio's clock, so that a mock clock controls it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import trio

from claude_openai.claude.backend import Backend, Emit, Parked
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Event, FinishReason, TextDelta, TurnCompleted, TurnStarted, Usage
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.standin.script import Hang, Pause

__all__ = ["Alive", "Crash", "ScriptedBackend", "ScriptedTurn", "TurnScript", "TurnStep", "deltas", "full_turn"]

MODEL = "claude-scripted"


@dataclass(frozen=True, slots=True)
class Crash:
    """The backend raises this, like a bug of a backend."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life that clients do not see, such as the announcement of a retry.

    Attributes:
        what: its name.
        for_s: seconds of silence that are allowed after it, beyond the usual time.
    """

    what: str = "a sign of life"
    for_s: float = 0


TurnStep: TypeAlias = Event | Alive | Pause | Hang | Crash
TurnScript: TypeAlias = Callable[[TurnRequest], Iterable[TurnStep]]
Outcome: TypeAlias = Literal["running", "returned", "cancelled", "raised"]


def deltas(count: int, text: str = "x") -> list[TurnStep]:
    """Return `count` deltas without waits between them."""
    return [TextDelta(text)] * count


def full_turn(
    *steps: str | TurnStep, finish_reason: FinishReason = "stop", usage: Usage | None = None
) -> tuple[TurnStep, ...]:
    """Return the script of a turn that completes: a start, the steps, an end.

    Args:
        steps: a string is one delta.
        finish_reason: the finish reason of the end.
        usage: tokens; by default 10 in and 5 out.
    """
    events = (TextDelta(step) if isinstance(step, str) else step for step in steps)
    end = TurnCompleted(finish_reason, usage or Usage(input_tokens=10, output_tokens=5))
    return (TurnStarted(MODEL), *events, end)


@dataclass(eq=False, slots=True)
class ScriptedTurn:
    """One turn and its outcome.

    Attributes:
        request: the request of the turn.
        emitted: number of events that were accepted.
        outcome: how the script ended; a cancelled turn is `cancelled` before its cleanup begins.
        cancel_reason: reason of the cancel; None if the turn was not cancelled, or cancelled by a deadline.
        stopped: set when the script has ended in any way; the cleanup may still run.
        ended: set when nothing of the turn is left.
    """

    request: TurnRequest
    emitted: int = 0
    outcome: Outcome = "running"
    cancel_reason: str | None = None
    stopped: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


class ScriptedBackend(Backend):
    """Plays a script for each turn.

    Args:
        script: the steps of every turn, or a function from the request to its steps.
        cleanup_s: seconds each turn takes after its script, shielded from cancels, as a process that is slow to die.

    Attributes:
        turns: all turns, oldest first.
        active: turns that have begun and not ended, cleanup included.
        most_active: the largest value of `active` so far.
        parked: the conversation that each turn returns as parked.
    """

    name = "scripted"

    def __init__(self, script: Sequence[TurnStep] | TurnScript | None = None, *, cleanup_s: float = 0) -> None:
        self.turns: list[ScriptedTurn] = []
        self.active = 0
        self.most_active = 0
        self.parked: Parked | None = None
        self._script = full_turn("ok") if script is None else script
        self._cleanup_s = cleanup_s
        self._arrival = trio.Event()

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        """Play the script; see `Backend.turn`."""
        turn = ScriptedTurn(request)
        self._begin(turn)
        try:
            for step in self._script(request) if callable(self._script) else self._script:
                await _play(step, turn, emit)
            turn.outcome = "returned"
        except trio.Cancelled as cancelled:
            turn.outcome, turn.cancel_reason = "cancelled", cancelled.reason
            raise
        finally:
            await self._end(turn)
        return self.parked

    async def wait_for_turn(self, n: int = 1) -> ScriptedTurn:
        """Wait until the `n`-th turn, counted from 1, has begun, and return it."""
        while len(self.turns) < n:
            await self._arrival.wait()
        return self.turns[n - 1]

    def _begin(self, turn: ScriptedTurn) -> None:
        self.turns.append(turn)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        self._arrival.set()
        self._arrival = trio.Event()

    async def _end(self, turn: ScriptedTurn) -> None:
        if turn.outcome == "running":
            turn.outcome = "raised"
        turn.stopped.set()
        if self._cleanup_s:
            with trio.CancelScope(shield=True):
                await trio.sleep(self._cleanup_s)
        self.active -= 1
        turn.ended.set()


async def _play(step: TurnStep, turn: ScriptedTurn, emit: Emit) -> None:
    if isinstance(step, Crash):
        raise step.error
    if isinstance(step, Hang):
        await trio.sleep_forever()
    elif isinstance(step, Alive):
        emit.alive(step.what, step.for_s)
    elif not isinstance(step, Pause):
        await emit(step)
        turn.emitted += 1
    elif isinstance(step.until, int | float):
        await trio.sleep(step.until)
    else:
        await step.until.wait()
