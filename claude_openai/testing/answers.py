"""The script of a fake: which answer a request gets, and whether the script was followed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from claude_openai.errors import InternalError
from claude_openai.standin.script import Answer, AnswerLike, Reply, answer_of
from claude_openai.testing.requests import FakeRequest

__all__ = ["Answers", "ScriptError", "ScriptFailed", "ScriptLike"]

# A function answers one request; as the last answer it answers all further requests.
ScriptLike: TypeAlias = AnswerLike | Callable[[FakeRequest], AnswerLike]

_SHOWN_CHARS = 200


class ScriptError(AssertionError):
    """The program and the script of a fake do not agree: which answer, which request."""


class ScriptFailed(InternalError):
    """What a client gets if the script has no valid answer for its request."""

    default_code = "script_failed"

    def __init__(self, problem: str) -> None:
        super().__init__(problem, may_retry=False)


@dataclass(slots=True)
class _Entry:
    number: int
    answer: Answer | Callable[[FakeRequest], Any]
    used: bool = False
    may_be_left: bool = False

    def __str__(self) -> str:
        text = repr(self.answer)
        return f"answer {self.number} ({text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + '…'})"


class Answers:
    """The answers of a script, in order.

    Args:
        answers: see `ScriptLike`.
        strict: False repeats the last answer for further requests, and reports no problem.

    Attributes:
        strict: see above.
        problems: what disagreed, in the order of its discovery.
        error: the first exception of a function of the script.
        fault: the fault of the current run, see `faults`; "" outside of one.

    Raises:
        TypeError: a value is not an answer.
    """

    def __init__(self, answers: Sequence[ScriptLike], *, strict: bool) -> None:
        self.strict = strict
        self.problems: list[str] = []
        self.error: Exception | None = None
        self.fault: str = ""
        self._entries: list[_Entry] = []
        self._script: list[_Entry] = []
        self._faulty: _Entry | None = None
        self._broken: FakeRequest | None = None
        self.add(answers)

    def add(self, answers: Sequence[ScriptLike]) -> None:
        """Append answers.

        Raises:
            TypeError: a value is not an answer; none is appended.
        """
        first = len(self._entries) + 1
        self._entries += [_Entry(number, _checked(each, number)) for number, each in enumerate(answers, first)]

    def begin_fault(self, fault: str, conversation: Sequence[Answer], number: int, faulty: Answer) -> None:
        """Answer with a conversation that has a fault, until `end_fault`.

        The request that gets the faulty answer gets no other. The program may send it again, or go on, or stop.

        Args:
            fault: describes the fault.
            conversation: the answers without it.
            number: of the answer with the fault, counted from 1.
            faulty: that answer.
        """
        self.fault, self._script = fault, self._entries
        self._faulty, self._broken = _Entry(number, faulty), None
        before = [_Entry(index, answer) for index, answer in enumerate(conversation[: number - 1], 1)]
        rest = [_Entry(index, answer, may_be_left=True) for index, answer in enumerate(conversation, 1)]
        self._entries = [*before, self._faulty, *rest[number - 1 :]]

    def end_fault(self) -> None:
        """Go on with the script, and note what was not asked for before the fault."""
        if self.fault:
            self.problems += [f"{text}, in the run with {self.fault}" for text in self._unused()]
            self.fault, self._entries, self._faulty, self._broken = "", self._script, None, None

    def is_last(self, request: FakeRequest) -> bool:
        """Return whether a further answer to this request, which has had one, would fail or repeat a fault."""
        if request is self._broken or not self._entries:
            return True
        return self._entries[-1].used and not self._repeats(self._entries[-1])

    def next(self, request: FakeRequest) -> tuple[Answer, str]:
        """Return the next answer, and its name for messages.

        Raises:
            ScriptFailed: there is none; or the function of the script failed, see `error`.
        """
        if self._faulty is not None and request is self._broken:  # real Claude Code asks again
            return self._made(self._faulty, request), str(self._faulty)
        if self._broken is not None and self._broken.outcome == "completed":
            self._pass_over_fault()
        entry = next((entry for entry in self._entries if not entry.used), None)
        if entry is None:
            if not self._entries:
                if not self.strict:
                    return Reply("ok"), "the default answer"
            elif self._repeats(self._entries[-1]):
                entry = self._entries[-1]
        if entry is None:
            raise self.problem(f"no answer is left for {request!r}; the script has {len(self._entries)}")
        entry.used = True
        if entry is self._faulty:
            self._broken = request
        return self._made(entry, request), str(entry)

    def problem(self, text: str) -> ScriptFailed:
        """Note a disagreement, and return the error for the client."""
        self.problems.append(text)
        return ScriptFailed(f"The script of fake_claude was not followed: {text}")

    def check(self) -> None:
        """Check that the script was followed, and all of it used.

        Raises:
            ScriptError: it was not.
        """
        self.end_fault()
        if not self.strict:
            return
        found = [*self.problems, *self._unused()]
        if found:
            raise ScriptError(
                "the script was not followed:\n" + "\n".join(f"- {each}" for each in found)
            ) from self.error

    def _unused(self) -> list[str]:
        return [f"{entry} was not asked for" for entry in self._entries if not entry.used and not entry.may_be_left]

    def _pass_over_fault(self) -> None:
        """Go on after the faulty answer, which came too late to break the turn."""
        faulty, self._faulty, self._broken = self._faulty, None, None
        for entry in self._entries:
            entry.used = entry.used or (faulty is not None and entry.number == faulty.number)

    def _repeats(self, entry: _Entry) -> bool:
        return not self.strict or not isinstance(entry.answer, Answer)

    def _made(self, entry: _Entry, request: FakeRequest) -> Answer:
        if isinstance(entry.answer, Answer):
            return entry.answer
        try:
            return answer_of(entry.answer(request), f"result of {entry}")
        except Exception as error:  # the test's own, which must not be lost in a response
            self.error = self.error or error
            raise self.problem(f"{entry} raised {error!r} for {request!r}") from error


def _checked(value: Any, number: int) -> Answer | Callable[[FakeRequest], Any]:
    if callable(value) and not isinstance(value, type):
        function: Callable[[FakeRequest], Any] = value
        return function
    return answer_of(value, f"answer {number} of the script")
