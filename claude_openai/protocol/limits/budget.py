"""A bound on the work of a request, or of a validation of arguments.

A few lines of JSON Schema can cause any amount of work: references that double, patterns that backtrack. So code that
walks a schema or a value spends steps from a budget, and stops when it is exhausted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["CHECK_STEPS", "Budget", "TooMuchWork", "request_budget"]

# A step takes one to two microseconds. Tool schemas of 750 KiB take a fifth of these steps, a response format of that
# size two fifths.
REQUEST_STEPS: Final = 2_000_000
# A small request gets fewer: so much work in so few bytes is an attack.
SMALL_REQUEST_STEPS: Final = 200_000
STEPS_PER_BYTE: Final = 10
PATTERN_S: Final = 0.1
PATTERNS_S: Final = 0.5


class TooMuchWork(Exception):
    """The budget is exhausted; the text names the exceeded bound."""


def _no_clock() -> float:
    return 0.0


class Budget:
    """A number of steps that may be spent.

    Args:
        steps: the number of steps.
        clock: returns seconds, to bound the total time of patterns; without it only the time of each pattern is
            bounded.
        pattern_s: time limit for each pattern, in seconds.

    Attributes:
        left: the steps that are left.
        pattern_s: see above.
    """

    __slots__ = ("_clock", "_patterns_s", "_steps", "left", "pattern_s")

    def __init__(
        self, steps: int = REQUEST_STEPS, clock: Callable[[], float] = _no_clock, *, pattern_s: float = PATTERN_S
    ) -> None:
        self._steps = steps
        self.left: int = steps
        self.pattern_s: float = pattern_s
        self._patterns_s = PATTERNS_S
        self._clock = clock

    @property
    def spent(self) -> int:
        return self._steps - self.left

    def spend(self, steps: int = 1) -> None:
        """Take steps from the budget.

        Raises:
            TooMuchWork: fewer steps are left.
        """
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork(f"more than {self._steps} steps")

    @contextmanager
    def timing_a_pattern(self) -> Iterator[None]:
        """Add the duration of the block to the time of patterns.

        Raises:
            TooMuchWork: patterns have taken more than `PATTERNS_S` in total.
        """
        began = self._clock()
        yield
        self._patterns_s -= self._clock() - began
        if self._patterns_s < 0:
            raise TooMuchWork(f"more than {PATTERNS_S * 1000:g} ms for its patterns")


def request_budget(size: int) -> Budget:
    """Return the budget of a request by the size of its body in bytes."""
    return Budget(min(REQUEST_STEPS, SMALL_REQUEST_STEPS + STEPS_PER_BYTE * size))


# For validating the arguments of one call. With an ordinary schema, the 30,000 values or so that Claude can write at
# once take about a tenth of them.
CHECK_STEPS: Final = 1_000_000
