"""The interface of a backend, which runs turns and reports them as events.

It is all that the rest of the program uses of Claude Code. A turn is a plain coroutine, not an async generator: cancel
it to stop the turn. Once it has returned, or raised Cancelled, nothing of the turn is left running.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Event
from claude_openai.protocol.turn.reports import Report
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["Backend", "ClaudeProcess", "Emit", "Parked", "ProcessKind", "WaitingConversation"]


class Emit(Protocol):
    """Receives the events of a turn."""

    async def __call__(self, event: Event) -> None:
        """Send an event, in the order of `protocol/turn/events.py`; wait if the reader is slow.

        It counts as a sign of life.
        """

    def alive(self, what: str, for_s: float = 0) -> None:
        """Report a sign of life that is not an event. A turn without signs of life is cancelled after a while.

        Args:
            what: its name, for the error message if it is the last one: "a retry".
            for_s: seconds until the next sign that are allowed beyond the usual time, such as the wait before a retry.
        """

    def report(self, report: Report) -> None:
        """Report what was used, or the limits of the account, without waiting."""


class Parked(Protocol):
    """A conversation that a turn left open, waiting for the client's results of its tool calls."""

    @property
    def waiting(self) -> bool:
        """Whether it still waits for the results; False once they have come, or the conversation was closed."""

    async def close(self) -> None:
        """End the conversation; return when its process is gone."""


ProcessKind: TypeAlias = Literal["live", "idle", "parked", "spare"]


@dataclass(frozen=True, slots=True)
class WaitingConversation:
    """A conversation that waits for its next request.

    Attributes:
        id: its name for `Backend.close_conversation`.
        model: Claude Code's name of the model.
        messages: the number of messages that it holds.
        since: Unix time at which it began to wait, in seconds.
    """

    id: str
    phase: Literal["idle", "parked"]
    model: str
    messages: int
    since: float


@dataclass(frozen=True, slots=True)
class ClaudeProcess:
    """A running `claude`.

    Attributes:
        kind: what it is used for; `live` for a turn, or to look something up.
        memory_mb: private memory in MiB, None if unknown.
    """

    kind: ProcessKind
    memory_mb: int | None


class Backend(ABC):
    """Runs turns, any number at once."""

    name: str
    # Modules that a turn needs; they are imported before `run` is called.
    modules: Sequence[str] = ()

    async def run(self) -> None:  # noqa: B027 - most backends have no tasks of their own
        """Run the tasks that live longer than a turn, from when the server listens until cancelled."""

    def status(self) -> Mapping[str, Any]:
        """Return more fields for `GET /health`, which needs no key. Must not block, nor start a turn."""
        return {}

    def note_login(self, *, is_refused: bool) -> None:  # noqa: B027 - most backends have no login
        """Note that Claude refused the login of a turn, or began to answer one. Quick."""

    def counts(self) -> Mapping[str, int]:
        """Return current counts: live `processes`, `spares`, conversations `idle` and `parked`."""
        return {}

    def conversations(self) -> Sequence[WaitingConversation]:
        """Return the conversations that wait for a request."""
        return ()

    async def close_conversation(self, conversation: str) -> bool:
        """End a waiting conversation, and return when its process is gone. Return False if none has this id."""
        return False

    def processes(self) -> Sequence[ClaudeProcess]:
        """Return the running processes."""
        return ()

    def check(self, request: TurnRequest) -> None:  # noqa: B027 - most backends take every request
        """Refuse a request that this backend can never answer. Quick; called before the request waits for anything.

        Raises:
            ApiError: for the client.
        """

    @abstractmethod
    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        """Run one turn; return when its process is gone (maybe some time after the last event) or is kept.

        Args:
            request: what to answer.
            emit: takes the events and the signs of life. Failures are events too: an exception other than Cancelled is
                a bug.
            log: bound to the run.

        Returns:
            The conversation that waits for the results of the turn's calls, if one does.
        """
