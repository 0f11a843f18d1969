"""Avoids the long context if the account has no credits for it.

Claude's API refuses such a request immediately and without billing, each time. So a refused request is run once more
without the long context, and for an hour the turns of that model run without it from the start. Claude Code then
refuses conversations longer than 200,000 tokens without a call, and clients shorten them after that error.
"""

from dataclasses import replace
from math import inf
from typing import Final

import trio

from claude_openai.errors import ApiError, ContextTooLong, LongContextRefused
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["LongContext"]

REMEMBERED_S: Final = 3600.0
WHY_SHORT: Final = (
    "The account has no usage credits for more than 200,000 tokens: shorten the conversation, or enable credits at "
    "https://claude.ai/settings/usage (this server tries again within the hour)."
)


class LongContext:
    """Remembers the models whose long context was refused."""

    def __init__(self) -> None:
        self._without_until: dict[str, float] = {}

    def applied_to(self, request: TurnRequest) -> TurnRequest:
        """Return the request as it should run now."""
        until = self._without_until.get(request.claude_model, -inf)
        return self.without(request) if trio.current_time() < until else request

    def is_refused(self, request: TurnRequest, error: ApiError) -> bool:
        """Whether the request failed because of its long context and can run without it; remembers the model."""
        if not request.long_context or not isinstance(error, LongContextRefused):
            return False
        self._without_until[request.claude_model] = trio.current_time() + REMEMBERED_S
        return True

    @staticmethod
    def without(request: TurnRequest) -> TurnRequest:
        return replace(request, long_context=False)

    @staticmethod
    def explained(request: TurnRequest, error: ApiError) -> ApiError:
        """Return the error of a request without long context, with the reason if it was too long."""
        if request.long_context or not isinstance(error, ContextTooLong):
            return error
        return ContextTooLong(f"{error.message.rstrip('.')}. {WHY_SHORT}", param=error.param)
