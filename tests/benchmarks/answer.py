"""One answer of the stand-in `clock`, as the client or the raw CLI had it, with the times of its way.

`clock` answers with the time at which it saw the request, so that the time to Claude and the time back can be measured
apart. All times are `time.perf_counter`, which on Linux is one clock for all processes.
"""

from dataclasses import dataclass

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        asked: when the request was sent.
        first: when the first delta had come.
        text: all of it; it begins with the time at which the stand-in saw the request.
        way: of the conversation; "" for the raw CLI.
        cpu_ms: what the server computed from the request to the end of the answer; 0 for the raw CLI.
    """

    asked: float
    first: float
    text: str
    way: str = ""
    cpu_ms: float = 0.0

    @property
    def ms(self) -> float:
        """From the request to the first delta."""
        return 1000 * (self.first - self.asked)

    @property
    def up_ms(self) -> float:
        """From the request to the stand-in, which has read it then."""
        return 1000 * (float(self.text.split()[0]) - self.asked)

    @property
    def down_ms(self) -> float:
        """From the stand-in to the first delta."""
        return self.ms - self.up_ms
