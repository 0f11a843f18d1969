"""What a backend is: something that runs one turn and says what happens as events.

The rest of the program knows no more of Claude Code than this interface. A turn is a plain coroutine, not an async
generator: cancel it to stop the turn, and when it has returned, or raised Cancelled, nothing of the turn is left
running.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Event
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["Backend", "Emit", "Parked"]


class Emit(Protocol):
    """Takes what a turn says."""

    async def __call__(self, event: Event) -> None:
        """Take an event, in the order of `protocol/turn/events.py`; wait when the reader is slow. A sign of life."""

    def alive(self, what: str, for_s: float = 0) -> None:
        """Take a sign of life that is no event: without any the turn is cancelled after a while.

        Args:
            what: names it, for the message when it was the last: "a retry".
            for_s: seconds that the turn may take until the next sign, beyond the usual: the wait before a retry.
        """


class Parked(Protocol):
    """A conversation that a turn has left open, since the client is to bring the results of its tool calls."""

    @property
    def waiting(self) -> bool:
        """Whether it still waits for them; False once they came, and when it was closed for whatever reason."""

    async def close(self) -> None:
        """End it; returns when its process is gone."""


class Backend(ABC):
    """Runs turns, any number at once."""

    name: str
    # Modules that it needs for a turn, imported before `run` is called.
    modules: Sequence[str] = ()

    async def run(self) -> None:  # noqa: B027 - most backends have no tasks of their own
        """Whatever lives longer than a turn; runs beside the server, once it listens, until it is cancelled."""

    def status(self) -> Mapping[str, Any]:
        """More fields for `GET /health`, which needs no key. It must not block, nor start a turn."""
        return {}

    def counts(self) -> Mapping[str, int]:
        """How many there are now of what it has: `processes` alive, `spares`, conversations `idle` and `parked`."""
        return {}

    def check(self, request: TurnRequest) -> None:  # noqa: B027 - most backends take every request
        """Refuse what this backend can never answer. Quick; called before the request waits for anything.

        Raises:
            ApiError: for the client.
        """

    @abstractmethod
    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        """Run one turn; returns when its process is gone, which may be a while after the last event, or is kept.

        Args:
            request: what to answer.
            emit: takes the events and the signs of life. Failures are events too: an exception other than Cancelled is
                a bug.
            log: bound to the run.

        Returns:
            The conversation that waits for the results of the turn's calls, if one does.
        """
