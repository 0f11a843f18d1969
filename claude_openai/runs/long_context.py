"""Doing without the long context where the account has no credits for it.

Claude's API refuses such a request at once and bills nothing, but it does so again each time. So one that is refused is
run once more without the long context, and for an hour the turns of that model do without it from the start. Claude
Code then refuses by itself, without a call, what is longer than 200,000 tokens, and clients that are told so shorten
the conversation.
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
        """The request as it is to be run now."""
        until = self._without_until.get(request.claude_model, -inf)
        return self.without(request) if trio.current_time() < until else request

    def is_refused(self, request: TurnRequest, error: ApiError) -> bool:
        """Whether the request failed for its long context, which is then remembered; it may be run without it."""
        if not request.long_context or not isinstance(error, LongContextRefused):
            return False
        self._without_until[request.claude_model] = trio.current_time() + REMEMBERED_S
        return True

    @staticmethod
    def without(request: TurnRequest) -> TurnRequest:
        return replace(request, long_context=False)

    @staticmethod
    def explained(request: TurnRequest, error: ApiError) -> ApiError:
        """The error of a request that was run without it, with the reason if it is too long."""
        if request.long_context or not isinstance(error, ContextTooLong):
            return error
        return ContextTooLong(f"{error.message.rstrip('.')}. {WHY_SHORT}", param=error.param)
