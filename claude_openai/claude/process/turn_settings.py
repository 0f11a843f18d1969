"""The settings of a process that can change with each turn."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claude_openai.protocol.turn.request import CacheTtl, TurnRequest

__all__ = ["CACHE_TTL", "FAST_MODE", "TurnSettings"]

# The keys of Claude Code's settings.
CACHE_TTL: Final = "promptCacheTtl"
FAST_MODE: Final = "fastMode"


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The settings of a process that can change with each turn.

    Attributes:
        effort: OpenAI's `reasoning_effort`; None leaves it to Claude Code.
        max_tokens: bound of an answer; None, or more than the model's limit, means the model's limit.
        long_context: whether more than 200,000 tokens may be used. Must be set before the first call: after it a
            process continues to request the 1M context of a model with `[1m]` (2.1.332).
        cache_ttl: how long prompts stay in Claude's cache. The operator's own variables for that have precedence.
        fast_mode: whether to ask for fast mode. Claude Code does so only for a model that has it.
        trace_context: the parent of Claude Code's own traces; not compared, because it is another for each request.
    """

    effort: str | None = None
    max_tokens: int | None = None
    long_context: bool = True
    cache_ttl: CacheTtl | None = None
    fast_mode: bool = False
    trace_context: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, request: TurnRequest) -> "TurnSettings":
        return cls(
            request.reasoning_effort,
            request.max_tokens,
            request.long_context,
            request.cache_ttl,
            request.options.fast_mode,
            request.trace_context,
        )

    @property
    def level(self) -> str | None:
        return None if self.effort is None else _EFFORTS.get(self.effort, self.effort)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables for a process that starts with these settings; an empty value resets an earlier one."""
        short = {} if self.long_context else {_SHORT_CONTEXT: "1"}
        trace = {name.upper(): self.trace_context.get(name, "") for name in _TRACE} if self.trace_context else {}
        return {_MAX_TOKENS: "" if self.max_tokens is None else str(self.max_tokens), **short, **trace}

    def frame(self) -> dict[str, Any]:
        """Return the control request that applies the settings to a running process before a turn."""
        kept = {CACHE_TTL: self.cache_ttl, FAST_MODE: self.fast_mode or None}
        settings = {"effortLevel": self.level, **kept, "env": self.environment}
        request = {"subtype": "apply_flag_settings", "settings": settings}
        return {"type": "control_request", "request_id": f"settings_{uuid.uuid4().hex}", "request": request}


# `low` is Claude Code's lowest level; it still decides itself whether to think.
_EFFORTS = {"none": "low", "minimal": "low"}
_MAX_TOKENS = "CLAUDE_CODE_MAX_OUTPUT_TOKENS"
_SHORT_CONTEXT = "CLAUDE_CODE_DISABLE_1M_CONTEXT"
_TRACE = ("traceparent", "tracestate")
