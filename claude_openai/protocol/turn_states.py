"""The states of one turn of Claude Code, and what takes it from one to the other.

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

    WAITING  -- RETRY_REFUSED --> STOPPED        WAITING, MESSAGE, BETWEEN -- RESULT, FAILURE --> IDLE
    MESSAGE  -- WITHDRAWN, FINISHED --> STOPPED  WAITING, MESSAGE, BETWEEN, ANSWERED -- GONE --> STOPPED
    ANSWERED -- MESSAGE_START --> STOPPED

IDLE, PARKED and STOPPED are the ends. What is not in `TRANSITIONS` changes nothing and has no effect. Which records
make an input, and what is to be done at a transition, is `cli_stream`'s business.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

__all__ = ["ENDS", "TRANSITIONS", "Input", "State"]


class State(Enum):
    WAITING = auto()  # Claude Code has the prompt, or the results; no message has begun
    MESSAGE = auto()  # a message is streamed
    BETWEEN = auto()  # a message is over, and another will begin
    ANSWERED = auto()  # the last message is over; the result will come
    IDLE = auto()  # the result has come: Claude Code waits for a prompt
    PARKED = auto()  # Claude Code waits for the results of calls
    STOPPED = auto()  # over for the client, but not for Claude Code: its process must be killed


class Input(Enum):
    MESSAGE_START = auto()
    CALLS = auto()  # the message ends, with calls for the client
    GOES_ON = auto()  # it ends, and Claude Code will ask for another: after its own tools, after refused calls
    ANSWER = auto()  # it ends, and is the answer
    FINISHED = auto()  # it ends where Claude Code would go on and the turn does not
    BROKEN_OFF = auto()  # it breaks off, and the client has nothing of it that is void
    WITHDRAWN = auto()  # it breaks off, and the client has words of it that are void
    RETRY_REFUSED = auto()  # Claude Code will repeat a call that was refused for the login or a limit
    RESULT = auto()
    FAILURE = auto()  # a result that tells an error
    ASKED_AGAIN = auto()  # Claude was sent another message
    GONE = auto()  # the process ended, or stopped making sense


ENDS: Final = frozenset({State.IDLE, State.PARKED, State.STOPPED})
_LIVE: Final = tuple(state for state in State if state not in ENDS)

TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = {
    (State.WAITING, Input.MESSAGE_START): State.MESSAGE,
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
