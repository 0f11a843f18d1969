"""The state of a conversation: the history that its process holds, and the requests that it can answer.

                    turn ended
    first request --> BUSY ----> IDLE, PARKED ----> BUSY
                        |                    taken
                        +------> BROKEN

Pure: a transition returns a new state. The end of the process is not a phase, because it can happen in all of them; see
`LiveProcess.alive`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final

from claude_openai.claude.control.mcp_server import fit_in_mcp_result
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.transcript.session_file import message_ids
from claude_openai.protocol.turn.blocks import Block, Message, ThinkingBlock, ToolResultBlock, ToolUseBlock
from claude_openai.protocol.turn.events import Route
from claude_openai.protocol.turn.history import canonical
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["TRANSITIONS", "ConversationState", "Identity", "Phase", "TurnOutcome", "identity_of"]

# A conversation with more messages beyond the request's is kept for its own client. Each exchange is two messages.
MAX_REWOUND_MESSAGES = 8
Identity = tuple[object, ...]


class Phase(Enum):
    BUSY = auto()  # leased; closed unless its turn ends well
    IDLE = auto()  # its turn is over; it can take a message
    PARKED = auto()  # it waits for the results of the calls in `pending`
    BROKEN = auto()  # no further turn is possible after the last one


TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.BUSY: frozenset({Phase.IDLE, Phase.PARKED, Phase.BROKEN}),
    Phase.IDLE: frozenset({Phase.BUSY}),
    Phase.PARKED: frozenset({Phase.BUSY}),
    Phase.BROKEN: frozenset(),
}


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """The outcome of a turn.

    Attributes:
        answer: the message that the client will send back.
        message_id: id of the prompt; "" for tool results, which belong to their calls.
        calls: ids of the calls that the client must answer.
        thinking: Claude's thinking before the calls.
        exact: Claude has seen exactly what the client has of this turn.
        reusable: Claude Code is ready for a prompt or for the results.
    """

    answer: Message
    message_id: str
    calls: tuple[str, ...]
    thinking: tuple[ThinkingBlock, ...]
    exact: bool
    reusable: bool


@dataclass(frozen=True, slots=True)
class ConversationState:
    """See the module.

    Attributes:
        identity: see `identity_of`.
        message_ids: the id of each message of the history; "" if the conversation cannot be rewound to it.
        history: all messages that the conversation holds, the last answer included.
        pending: ids of the calls of the last turn that wait for results.
        thinking: Claude's thinking before these calls.
        settings: the settings of the last turn.
        exact: Claude has seen exactly what the client has. Otherwise the turn is finished, through all its calls and
            results, and the next request is replayed in a new process.
    """

    identity: Identity
    message_ids: tuple[str, ...]
    phase: Phase = Phase.BUSY
    history: tuple[Message, ...] = ()
    pending: tuple[str, ...] = ()
    thinking: tuple[ThinkingBlock, ...] = ()
    settings: TurnSettings = field(default_factory=TurnSettings)
    exact: bool = True

    @classmethod
    def first(cls, request: TurnRequest, session: str) -> "ConversationState":
        """Return the state of a process with its first request; `session` is the id of its transcript."""
        return cls(identity_of(request), message_ids(session, request.turns))

    def taken(self) -> "ConversationState":
        return self._moved_to(Phase.BUSY, pending=(), thinking=())

    def rewound_to(self, messages: int) -> "ConversationState":
        """Return the state with the first `messages` messages only."""
        return replace(self, message_ids=self.message_ids[:messages])

    def after(self, request: TurnRequest, outcome: TurnOutcome, *, alive: bool) -> "ConversationState":
        exact = self.exact and outcome.exact
        if not outcome.reusable or not alive or not (exact or outcome.calls):
            phase = Phase.BROKEN
        else:
            phase = Phase.PARKED if outcome.calls else Phase.IDLE
        return self._moved_to(
            phase,
            message_ids=(*self.message_ids, outcome.message_id, ""),
            history=canonical((*request.turns, request.prompt, outcome.answer)),
            pending=outcome.calls,
            thinking=outcome.thinking,
            settings=TurnSettings.of(request),
            exact=exact,
        )

    def _moved_to(self, phase: Phase, **changes: Any) -> "ConversationState":
        if phase not in TRANSITIONS[self.phase]:
            raise AssertionError(f"a conversation cannot go from {self.phase.name} to {phase.name}")
        return replace(self, phase=phase, **changes)

    def route_for(self, request: TurnRequest) -> Route | None:
        """Return the route of a request that follows the history; None if its prompt does not fit."""
        if self.phase is Phase.IDLE:
            return None if request.prompt.has_results else "continued"
        results = [block for block in request.prompt.blocks if isinstance(block, ToolResultBlock)]
        fits = (
            self.settings == TurnSettings.of(request)  # settings cannot change within a turn
            and {result.call_id for result in results} == set(self.pending)
            and len(results) == len(request.prompt.blocks)
            and fit_in_mcp_result(results)
        )
        return "parked" if fits else None

    def can_rewind_to(self, messages: tuple[Message, ...], prompt: Message) -> bool:
        """Whether it can be rewound to these messages, in canonical form, and take the prompt.

        It cannot be rewound to an empty history, nor to before tool results, which belong to their calls.
        """
        count = len(messages)
        if self.phase is not Phase.IDLE or prompt.has_results:
            return False
        if not 0 < count < len(self.history) <= count + MAX_REWOUND_MESSAGES:
            return False
        return bool(self.message_ids[count]) and self.history[:count] == messages

    def is_passed_by(self, request: TurnRequest, messages: Sequence[Message]) -> bool:
        """Whether a request with these messages, in canonical form, continues beyond the waiting calls.

        Such a request has the results in a form that the calls cannot take: beside text, with other settings, or under
        the ids of `functions`. No other request will bring the results.
        """
        beginning = messages[: len(self.history)]
        if self.identity[0] != request.caller:
            return False
        if self.phase is not Phase.PARKED or len(messages) == len(beginning):
            return False
        if not request.functions:
            return beginning == self.history
        # Function calls have no ids, so an equal conversation may be another one.
        return self.identity == identity_of(request) and _without_ids(beginning) == _without_ids(self.history)


def identity_of(request: TurnRequest) -> Identity:
    """Return everything besides the history that must be equal for a request to continue a conversation.

    The caller comes first.
    """
    return (
        request.caller,
        request.user,
        request.claude_model,
        request.system,
        request.tools,
        request.tool_choice,
        request.parallel_tool_calls,
        request.output,
        request.long_context,
        replace(request.options, reset_session=False, fast_mode=False),
    )


def _without_ids(messages: Sequence[Message]) -> list[Message]:
    return [replace(message, blocks=tuple(map(_without_id, message.blocks))) for message in messages]


def _without_id(block: Block) -> Block:
    match block:
        case ToolUseBlock():
            return replace(block, id="")
        case ToolResultBlock():
            return replace(block, call_id="")
    return block
