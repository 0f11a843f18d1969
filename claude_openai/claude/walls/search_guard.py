"""Checks each web search of Claude against the limits of the request.

The allowed domains are put into the input of the call, because Claude chooses the input.
"""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.claude.walls.file_guard import Denied
from claude_openai.protocol.turn.claude_options import WebSearch

__all__ = ["SearchGuard"]

TOO_MANY: Final = "No more web searches are allowed in this answer. Continue with what you have."


class SearchGuard:
    """Checks the searches of one process.

    Args:
        search: the limits of the request.
    """

    def __init__(self, search: WebSearch) -> None:
        self._search = search
        self._used = 0

    def begin_turn(self) -> None:
        self._used = 0

    def check(self, tool_input: Mapping[str, Any]) -> dict[str, Any] | None:
        """Check one search; arguments and result as those of `FileGuard.check`, with the input of the call only.

        Raises:
            Denied: the answer has had all its searches.
        """
        self._used += 1
        if self._search.max_uses is not None and self._used > self._search.max_uses:
            raise Denied(TOO_MANY)
        if not self._search.allowed_domains:
            return None
        # Claude's API accepts only one of the two lists.
        others = {key: value for key, value in tool_input.items() if key != "blocked_domains"}
        return {**others, "allowed_domains": [*self._search.allowed_domains]}
