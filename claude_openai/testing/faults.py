"""Runs of a program with a fault at each place of a conversation.

async for fault in claude.faults(ToolUse("get", {"q": 1}), "done"):
    ...  # the program; Claude breaks off at `fault`
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from claude_openai.standin.script import Answer, Block, Cut, Die, Hang, Interruption, Reply, Text, Thinking, ToolUse
from claude_openai.testing.answers import Answers
from claude_openai.testing.requests import FakeRequest

__all__ = ["FAULTS", "Fault", "FaultKind", "FaultRuns", "faults_of"]

FaultKind: TypeAlias = Cut | Hang | Die

FAULTS: Final[tuple[FaultKind, ...]] = (Cut(), Hang(), Die())
# How long the requests of a run may take to end after it.
END_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in a conversation.

    Attributes:
        kind: `Cut()`, `Hang()` or `Die()`.
        answer: the number of the answer that has it, counted from 1.
        place: where in the answer, such as `after 1 pieces of step 1`.
        faulty: the answer with the fault.
    """

    kind: FaultKind
    answer: int
    place: str
    faulty: Answer

    def __str__(self) -> str:
        return f"{self.kind!r} in answer {self.answer}, {self.place}"


def faults_of(conversation: Sequence[Answer], kinds: Sequence[FaultKind] = FAULTS) -> Iterator[Fault]:
    """Yield each kind of fault for each place of each answer. An answer that is an error has none."""
    for number, answer in enumerate(conversation, 1):
        if isinstance(answer, Reply):
            for kind in kinds:
                for place, faulty in _with_fault(answer, kind):
                    yield Fault(kind, number, place, faulty)


class FaultRuns:
    """The runs of `FakeClaude.faults`.

    Args:
        conversation: the answers without a fault.
        kinds: the faults.
        answers: the script of the fake.
        requests: the requests of the fake.
    """

    def __init__(
        self, conversation: Sequence[Answer], kinds: Sequence[FaultKind], answers: Answers, requests: list[FakeRequest]
    ) -> None:
        self._conversation = conversation
        self._faults = faults_of(conversation, kinds)
        self._answers = answers
        self._requests = requests
        self._first = len(requests)

    def __aiter__(self) -> "FaultRuns":
        return self

    async def __anext__(self) -> Fault:
        fault = await self.next()
        if fault is None:
            raise StopAsyncIteration
        return fault

    async def next(self) -> Fault | None:
        """End the run, and begin the next one; return its fault, or None after the last one."""
        for request in self._requests[self._first :]:
            with trio.move_on_after(END_WAIT_S) as waiting:
                await request.ended.wait()
            if waiting.cancelled_caught:
                self._answers.problem(f"{request!r} did not end after the run with {self._answers.fault}")
        self._answers.end_fault()
        fault = next(self._faults, None)
        self._first = len(self._requests)
        if fault is not None:
            self._answers.begin_fault(str(fault), self._conversation, fault.answer, fault.faulty)
        return fault


def _with_fault(reply: Reply, fault: FaultKind) -> Iterator[tuple[str, Reply]]:
    for index, step in enumerate(reply.steps):
        before, after = reply.steps[:index], reply.steps[index + 1 :]
        yield f"before step {index + 1}", reply.with_steps(*before, fault, step, *after)
        for place, faulty in _inside(step, fault):
            yield f"{place} of step {index + 1}", reply.with_steps(*before, faulty, *after)
    yield "after the last step", reply.with_steps(*reply.steps, fault)
    yield "after the stop reason", reply.with_end(fault)


def _inside(step: Block | Interruption, fault: FaultKind) -> Iterator[tuple[str, Block]]:
    if isinstance(step, Text | Thinking):
        pieces = step.pieces
    elif isinstance(step, ToolUse):
        pieces = step.fragments or (json.dumps(dict(step.input)),)
    else:
        return
    for index in range(len(pieces) + 1):
        faulty = (*pieces[:index], fault, *pieces[index:])
        place = f"after {index} pieces"
        if isinstance(step, ToolUse):
            yield place, ToolUse(step.name, step.input, step.id, fragments=faulty, fits=step.fits)
        elif isinstance(step, Thinking):
            yield place, Thinking(*faulty, signature=step.signature)
        else:
            yield place, Text(*faulty)
