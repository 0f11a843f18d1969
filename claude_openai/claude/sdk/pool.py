"""Which live conversation a request belongs to: parked, idle, or none.

Knows the ones that nobody has borrowed, their bounds in number and in time. Finding and keeping are synchronous, so two
requests can never get the same one; what is found is taken out. It never matches on less than all: the same caller,
model, system prompt, tools and options, and the same history to the last word, our own answer included. One that holds
more than that, by its last few turns, is taken back to it: a message was edited, or another answer is wanted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

import trio

from claude_openai.claude.control.mcp_server import fit_in_mcp_result
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.sdk.conversation import Conversation, identity_of
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.blocks import Block, Message, ToolResultBlock, ToolUseBlock
from claude_openai.protocol.turn.events import Route
from claude_openai.protocol.turn.history import canonical
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["ConversationLimits", "ConversationPool"]

# One that holds much more is rather kept for whom it belongs to. Each exchange is two turns.
MAX_REWOUND_TURNS = 8


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """How many may wait, idle and parked together, and for how many seconds."""

    kept: int
    idle_s: float
    parked_s: float


class ConversationPool:
    """Those that wait, the least recently used first."""

    def __init__(self, limits: ConversationLimits, log: Log) -> None:
        self._limits = limits
        self._log = log
        self._kept: list[Conversation] = []

    def counts(self) -> dict[str, int]:
        """How many wait: idle, and parked with calls."""
        parked = [bool(conversation.pending) for conversation in self._kept if conversation.alive]
        return {"idle": parked.count(False), "parked": parked.count(True)}

    def find(self, request: TurnRequest) -> tuple[Conversation, Route] | None:
        """Take the conversation that the request continues, if there is one."""
        identity, turns = identity_of(request), canonical(request.turns)
        results = [block for block in request.prompt.blocks if isinstance(block, ToolResultBlock)]
        self._kept = [conversation for conversation in self._kept if conversation.alive]
        for conversation in reversed(self._kept):
            if conversation.identity != identity or conversation.history != turns:
                continue
            if conversation.pending:
                # A turn goes on with the effort and the bound that it began with.
                if conversation.settings != TurnSettings.of(request):
                    continue
                answered = {block.call_id for block in results}
                if answered != set(conversation.pending) or len(results) != len(request.prompt.blocks):
                    continue
                if not fit_in_mcp_result(results):
                    continue
            elif results:
                continue
            return self._taken(conversation), "parked" if conversation.pending else "continued"
        if not turns:
            return None
        longer = [kept for kept in self._kept if kept.identity == identity and _can_go_back(kept, turns)]
        if not longer:
            return None
        return self._taken(min(longer, key=lambda kept: len(kept.history))), "rewound"

    def _taken(self, conversation: Conversation) -> Conversation:
        self._kept.remove(conversation)
        conversation.scope.deadline = inf
        return conversation

    def end_passed(self, request: TurnRequest) -> list[Conversation]:
        """End the parked ones that a request goes past which `find` has found none for; they are returned.

        It has the results of their calls in a way that they cannot take: beside words, with other settings, under the
        ids that `functions` get. Nothing will bring those results again.
        """
        said = canonical((*request.turns, request.prompt))
        passed = [kept for kept in self._kept if kept.alive and kept.pending and _goes_past(request, said, kept)]
        for conversation in passed:
            self._log.debug("conversation.passed")
            self._kept.remove(conversation)
            conversation.scope.cancel(reason="the client has gone past its calls")
        return passed

    def keep(self, conversation: Conversation) -> list[Conversation]:
        """Let it wait for its next request; beyond the bound the least recently used end, and are returned."""
        wait_s = self._limits.parked_s if conversation.pending else self._limits.idle_s
        conversation.scope.deadline = trio.current_time() + wait_s
        self._kept = [kept for kept in self._kept if kept.alive]
        conversation.waited = True
        self._kept.append(conversation)
        evicted: list[Conversation] = []
        while len(self._kept) > self._limits.kept:
            self._log.debug("conversation.evicted")
            evicted.append(self._kept.pop(0))
            evicted[-1].scope.cancel(reason="too many conversations are open")
        return evicted


def _can_go_back(kept: Conversation, turns: tuple[Message, ...]) -> bool:
    held = len(kept.history)
    # Results of tools are no message to go back to: they belong to their calls.
    if kept.pending or not len(turns) < held <= len(turns) + MAX_REWOUND_TURNS:
        return False
    return bool(kept.message_ids[len(turns)]) and kept.history[: len(turns)] == turns


def _goes_past(request: TurnRequest, said: Sequence[Message], parked: Conversation) -> bool:
    told, held = said[: len(parked.history)], parked.history
    if len(said) == len(told):
        return False
    if not request.functions:
        return told == held
    # A function call has no id of its own, so the same words could be those of somebody else.
    return parked.identity == identity_of(request) and _without_ids(told) == _without_ids(held)


def _without_ids(turns: Iterable[Message]) -> list[Message]:
    return [replace(turn, blocks=tuple(map(_without_id, turn.blocks))) for turn in turns]


def _without_id(block: Block) -> Block:
    match block:
        case ToolUseBlock():
            return replace(block, id="")
        case ToolResultBlock():
            return replace(block, call_id="")
    return block
