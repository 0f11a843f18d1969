"""What the live view shows, and what keys do to it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, TypeAlias

from claude_openai.commands.top.feed import Feed, WatchedRun

__all__ = ["KEYS", "Action", "CancelRun", "Mode", "Model", "Quit"]

PAGE: Final = 10


class Mode(Enum):
    """What keys do: select and act, answer whether to cancel, or close the help."""

    TABLE = auto()
    CONFIRM = auto()
    HELP = auto()


@dataclass(frozen=True, slots=True)
class CancelRun:
    """The user wants to cancel this run."""

    run_id: str


class Quit:
    """The user wants to leave."""


Action: TypeAlias = CancelRun | Quit | None


@dataclass(frozen=True, slots=True)
class Model:
    """The state of the view.

    Attributes:
        address: URL of the server.
        live: what the server has sent.
        held: what is shown instead while the display is paused.
        held_at: the time that is shown, in seconds since 1970, while nothing new is: paused, or without a connection.
        problem: why there is no connection, "" if there is one.
        selected: id of the run that the user has selected; None for the first in the table.
        mode: what keys do.
        notice: result of the last action.
    """

    address: str = ""
    live: Feed = field(default_factory=Feed)
    held: Feed | None = None
    held_at: float | None = None
    problem: str = ""
    selected: str | None = None
    mode: Mode = Mode.TABLE
    notice: str = ""

    @property
    def shown(self) -> Feed:
        return self.live if self.held is None else self.held

    @property
    def index(self) -> int:
        """Position of the selected run; 0 if it is not in the table any more."""
        ids = (run.record.id for run in self.shown.runs)
        return next((number for number, run_id in enumerate(ids) if run_id == self.selected), 0)

    @property
    def run(self) -> WatchedRun | None:
        """The selected run, None if there are no runs."""
        return self.shown.runs[self.index] if self.shown.runs else None

    def connected(self, feed: Feed) -> "Model":
        """Return the model with what the server has sent."""
        return replace(self, live=feed, problem="", held_at=None if self.held is None else self.held_at)

    def disconnected(self, problem: str, now: float) -> "Model":
        """Return the model without a connection. The last state stays visible."""
        return replace(self, problem=problem, held_at=now if self.held_at is None else self.held_at)

    def noticed(self, notice: str) -> "Model":
        """Return the model with the result of an action, which is shown until the next key."""
        return replace(self, notice=notice)

    def press(self, key: str, now: float) -> tuple["Model", Action]:
        """Return the model after a key, and what to do outside it.

        Args:
            key: a character, or the name of a key.
            now: seconds since 1970.
        """
        model = replace(self, notice="")
        if self.mode is Mode.CONFIRM:
            # The run was selected when the question was asked, so the selection cannot have moved on.
            sure = key in ("y", "Y") and self.selected is not None
            return replace(model, mode=Mode.TABLE), CancelRun(self.selected or "") if sure else None
        if self.mode is Mode.HELP and key != "q":
            return replace(model, mode=Mode.TABLE), None
        if key == "q":
            return model, Quit()
        act = _ACTS.get(key)
        return (model if act is None else act(model, now)), None

    def _moved(self, to: int) -> "Model":
        runs = self.shown.runs
        return replace(self, selected=runs[max(0, min(to, len(runs) - 1))].record.id) if runs else self

    def _asked(self) -> "Model":
        run = self.run
        if run is None:
            return self
        if not run.is_current:
            return replace(self, notice=f"{run.record.id} has already ended")
        return replace(self, mode=Mode.CONFIRM, selected=run.record.id)

    def _paused(self, now: float) -> "Model":
        if self.held is None:
            return replace(self, held=self.live, held_at=now if self.held_at is None else self.held_at)
        return replace(self, held=None, held_at=self.held_at if self.problem else None)


_ACTS: Final[Mapping[str, Callable[[Model, float], Model]]] = {
    **dict.fromkeys(("j", "down"), lambda model, _: model._moved(model.index + 1)),
    **dict.fromkeys(("k", "up"), lambda model, _: model._moved(model.index - 1)),
    "page down": lambda model, _: model._moved(model.index + PAGE),
    "page up": lambda model, _: model._moved(model.index - PAGE),
    **dict.fromkeys(("g", "home"), lambda model, _: replace(model, selected=None)),
    **dict.fromkeys(("G", "end"), lambda model, _: model._moved(len(model.shown.runs))),
    "c": lambda model, _: model._asked(),
    " ": lambda model, now: model._paused(now),
    "?": lambda model, _: replace(model, mode=Mode.HELP),
}

# The help: keys, and what they do.
KEYS: Final = (
    ("j, k, arrows", "select a run"),
    ("page up, page down", f"select {PAGE} runs further"),
    ("g, home", "select the first run, also when it changes"),
    ("G, end", "select the last run"),
    ("c", "cancel the selected run, after a question"),
    ("space", "pause and continue the display"),
    ("?", "show this help"),
    ("q, Ctrl-C", "quit"),
)
