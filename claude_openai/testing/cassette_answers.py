"""The script of a fake that answers from a cassette: each turn gets the answer that was recorded for its request."""

from collections.abc import Sequence
from pathlib import Path

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.file import read_cassette
from claude_openai.cassettes.masking import make_mask
from claude_openai.cassettes.matching import CassetteMismatch, next_answer, unused_turns
from claude_openai.cassettes.playing import script_of
from claude_openai.standin.script import Answer
from claude_openai.testing.answers import Answers, ScriptLike
from claude_openai.testing.requests import FakeRequest

__all__ = ["CassetteAnswers"]


class CassetteAnswers(Answers):
    """The answers of a cassette; see `Answers` for what it does with them.

    Args:
        path: the file.
        strict: False reports no problem. A request that was not recorded has no answer all the same.

    Raises:
        CassetteError: the file cannot be read, is not a cassette, or is damaged.
    """

    def __init__(self, path: str | Path, *, strict: bool) -> None:
        super().__init__((), strict=strict)
        self._left = read_cassette(path)
        self._mask = make_mask()
        self._found: dict[int, tuple[Answer, str]] = {}

    def is_last(self, request: FakeRequest) -> bool:
        """Return True: what was recorded is the end of a turn, after Claude Code's own retries."""
        return True

    def add(self, answers: Sequence[ScriptLike]) -> None:
        """Raise a TypeError, unless there is nothing to add."""
        if answers:
            raise TypeError("the answers of this fake are those of its cassette; no others can be added")

    def begin_fault(self, fault: str, conversation: Sequence[Answer], number: int, faulty: Answer) -> None:
        """Raise a TypeError: a fault would never be met."""
        raise TypeError("this fake answers from a cassette, which has no place for faults; use one with a script")

    def next(self, request: FakeRequest) -> tuple[Answer, str]:
        """Return the recorded answer to the request, and its name for messages; the same one if asked again.

        Raises:
            ScriptFailed: the request was not recorded, or not so often.
        """
        if request.number not in self._found:
            try:
                entry, self._left = next_answer(self._left, ClientRequest.of(request.path, request.body, self._mask))
            except CassetteMismatch as mismatch:
                raise self.problem(str(mismatch)) from None
            self._found[request.number] = script_of(entry), f"line {entry.line} of {self._left.name}"
        return self._found[request.number]

    def _unused(self) -> list[str]:
        unused = unused_turns(self._left)
        return [unused] if unused else []
