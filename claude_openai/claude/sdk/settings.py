"""Bounds of what the SDK backend keeps open."""

from dataclasses import dataclass

__all__ = ["SdkSettings"]


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """How many processes wait, and for how long.

    Attributes:
        kept: conversations that wait for their next request, idle and parked together.
        idle_s: seconds after which an idle one is closed.
        parked_s: seconds after which one that waits for results of tools is closed.
        spares: processes per model that wait for a new conversation.
        default_model: the model of the first spares, as Claude Code knows it.
        bind_wait_s: seconds that a spare may take to answer its first request. It needs 0.1 s; the SDK would wait for
            a minute.
        refill_delay_s: seconds before a spare that was taken is replaced. A start costs half a second of a core, which
            the turn that took the spare needs first.
    """

    kept: int
    idle_s: float
    parked_s: float
    spares: int
    default_model: str
    bind_wait_s: float = 10.0
    refill_delay_s: float = 1.0
