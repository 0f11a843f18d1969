"""The last errors that clients got, for those who watch the server. Nothing in them quotes a request."""

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from claude_openai.errors import ApiError, BadRequest

__all__ = ["RecentErrors"]

MAX_ERRORS: Final = 50
SHOWN_S: Final = 3600.0
MESSAGE_CHARS: Final = 500


@dataclass(slots=True)
class SeenError:
    """One error, or several equal ones in a row.

    Attributes:
        at: Unix time of the last one, in seconds.
        run: id of the run of the last one, "" if it had none.
        message: what was wrong, without the hint.
    """

    at: float
    run: str
    code: str
    message: str
    hint: str
    count: int = 1


class RecentErrors:
    """The errors of the last hour, at most `MAX_ERRORS`.

    Args:
        changed: called after each error.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._errors: deque[SeenError] = deque(maxlen=MAX_ERRORS)

    def note(self, error: ApiError, at: float, run_id: str = "") -> None:
        """Note an error.

        Args:
            error: what the client got.
            at: Unix time in seconds.
            run_id: id of the failed run, "" if there was none.
        """
        # The message about an invalid field may quote its value, which can be a part of the conversation.
        quotes = isinstance(error, BadRequest) and error.param is not None
        message = f"The field {error.param} is invalid" if quotes else error.problem
        seen = SeenError(at, run_id, error.code or error.type, message[:MESSAGE_CHARS], error.hint[:MESSAGE_CHARS])
        last = self._errors[-1] if self._errors else None
        if last is not None and (last.code, last.message, last.hint) == (seen.code, seen.message, seen.hint):
            last.at, last.run, last.count = at, run_id, last.count + 1
        else:
            self._errors.append(seen)
        self._changed()

    def to_json(self, now: float) -> list[dict[str, Any]]:
        """Return the errors of the last hour, the last one first."""
        return [asdict(error) for error in reversed(self._errors) if error.at > now - SHOWN_S]
