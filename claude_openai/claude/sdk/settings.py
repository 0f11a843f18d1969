"""Bounds of the processes that the SDK backend keeps."""

from dataclasses import dataclass

from claude_openai.claude.transcript.fifo import LATE_TRANSCRIPTS

__all__ = ["SdkSettings"]


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """The number of waiting processes and their time limits.

    Attributes:
        kept: conversations that wait for their next request, idle and parked together.
        idle_s: seconds after which an idle conversation is closed.
        parked_s: seconds after which a parked conversation is closed.
        spares: spares per model.
        default_model: the model of the first spares, by Claude Code's name.
        bind_wait_s: seconds in which a spare must answer its first request. It needs 0.1 s; the SDK would wait for a
            minute.
        late_transcripts: spares wait for their history, so that they serve conversations that have one.
        refill_delay_s: seconds before a used spare is replaced. A start costs half a second of a core, which the turn
            in the used spare needs first.
    """

    kept: int
    idle_s: float
    parked_s: float
    spares: int
    default_model: str
    bind_wait_s: float = 10.0
    refill_delay_s: float = 1.0
    late_transcripts: bool = LATE_TRANSCRIPTS
