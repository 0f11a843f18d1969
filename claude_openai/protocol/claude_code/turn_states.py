"""The state machine of one turn of Claude Code.

    prompt, or results of calls
      |
      v       MESSAGE_START           ANSWER              RESULT, FAILURE
    WAITING ----------------> MESSAGE -------> ANSWERED ------------------> IDLE
                              |  ^  |                                         |
                 BROKEN_OFF,  |  |  |  CALLS                                  |
                 GOES_ON      |  |  +--------> PARKED                         |
                              v  | MESSAGE_START                              |
                            BETWEEN <-----------------------------------------+
                                                 ASKED_AGAIN

    WAITING  -- RETRY_REFUSED, LACKS_TOOL --> STOPPED
    WAITING, MESSAGE, BETWEEN -- RESULT, FAILURE --> IDLE
    MESSAGE  -- WITHDRAWN, FINISHED --> STOPPED  WAITING, MESSAGE, BETWEEN, ANSWERED -- GONE --> STOPPED
    ANSWERED -- MESSAGE_START --> STOPPED

IDLE, PARKED and STOPPED are the ends. An input without an entry in `TRANSITIONS` is ignored. `turn_reader` maps records
to inputs, and transitions to effects.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

__all__ = ["ENDS", "TRANSITIONS", "Input", "State"]


class State(Enum):
    WAITING = auto()  # Claude Code has the prompt or the results; no message has begun
    MESSAGE = auto()  # a message is being streamed
    BETWEEN = auto()  # a message has ended, and Claude Code will request another
    ANSWERED = auto()  # the last message has ended; the result record is to come
    IDLE = auto()  # the result record has come; Claude Code waits for a prompt
    PARKED = auto()  # Claude Code waits for the results of tool calls
    STOPPED = auto()  # the turn has ended, but Claude Code would continue: its process must be killed


class Input(Enum):
    MESSAGE_START = auto()
    CALLS = auto()  # the message ends with calls for the client
    GOES_ON = auto()  # the message ends, and Claude Code will request another: after its own tools or rejected calls
    ANSWER = auto()  # the message ends and is the answer
    FINISHED = auto()  # the message ends the turn, although Claude Code would continue
    BROKEN_OFF = auto()  # the stream breaks off; the client has no text of the abandoned blocks
    WITHDRAWN = auto()  # the stream breaks off; the client has text of the abandoned blocks
    LACKS_TOOL = auto()  # Claude Code does not offer a tool of the request
    RETRY_REFUSED = auto()  # Claude Code will retry a call that was refused with 401 or 429
    RESULT = auto()
    FAILURE = auto()  # a result record with an error
    ASKED_AGAIN = auto()  # Claude is sent another message
    GONE = auto()  # the process ended, or wrote something unreadable


ENDS: Final = frozenset({State.IDLE, State.PARKED, State.STOPPED})
_LIVE: Final = tuple(state for state in State if state not in ENDS)

TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = {
    (State.WAITING, Input.MESSAGE_START): State.MESSAGE,
    (State.WAITING, Input.LACKS_TOOL): State.STOPPED,
    (State.WAITING, Input.RETRY_REFUSED): State.STOPPED,
    (State.MESSAGE, Input.CALLS): State.PARKED,
    (State.MESSAGE, Input.GOES_ON): State.BETWEEN,
    (State.MESSAGE, Input.ANSWER): State.ANSWERED,
    (State.MESSAGE, Input.FINISHED): State.STOPPED,
    (State.MESSAGE, Input.BROKEN_OFF): State.BETWEEN,
    (State.MESSAGE, Input.WITHDRAWN): State.STOPPED,
    (State.BETWEEN, Input.MESSAGE_START): State.MESSAGE,
    (State.ANSWERED, Input.MESSAGE_START): State.STOPPED,
    (State.IDLE, Input.ASKED_AGAIN): State.BETWEEN,
    **{(state, each): State.IDLE for state in _LIVE for each in (Input.RESULT, Input.FAILURE)},
    **{(state, Input.GONE): State.STOPPED for state in _LIVE},
}
