"""The conversations that wait for a request, bounded in number and time.

All methods are synchronous, so two requests never get the same conversation, and a cancel cannot split the bookkeeping.
A request continues a conversation only if the caller, the model, the system prompt, the tools, the options and the
whole history, with our last answer, are equal. A conversation with a few messages more is rewound: its client edited a
message, or wants another answer.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Literal

import trio

from claude_openai.claude.backend import ProcessKind, WaitingConversation
from claude_openai.claude.sdk.conversation import Conversation
from claude_openai.claude.sdk.conversation_state import Phase, identity_of
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Route
from claude_openai.protocol.turn.history import canonical
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["KeptConversations"]


class KeptConversations:
    """The idle and the parked conversations, the least recently used first.

    Args:
        limit: the number of conversations that may wait.
        idle_s: seconds until an idle conversation is ended.
        parked_s: seconds until a parked conversation is ended.
        log: records the conversations that are ended.
        now: the time in seconds, on trio's clock.
    """

    def __init__(
        self, limit: int, idle_s: float, parked_s: float, log: Log, now: Callable[[], float] = trio.current_time
    ) -> None:
        self._limit = limit
        self._wait_s = {Phase.IDLE: idle_s, Phase.PARKED: parked_s}
        self._log = log
        self._now = now
        self._kept: list[Conversation] = []

    def counts(self) -> dict[str, int]:
        phases = [conversation.state.phase for conversation in self.alive]
        return {"idle": phases.count(Phase.IDLE), "parked": phases.count(Phase.PARKED)}

    @property
    def alive(self) -> list[Conversation]:
        """The conversations that can be taken."""
        return [conversation for conversation in self._kept if conversation.process.alive]

    def listed(self) -> list[WaitingConversation]:
        return [
            WaitingConversation(
                each.process.spec.session, _kind(each), each.process.spec.model, len(each.state.history), each.since
            )
            for each in self.alive
        ]

    def kinds(self) -> dict[int | None, ProcessKind]:
        """Return what the processes do, by process id."""
        return {each.process.pid: _kind(each) for each in self.alive}

    async def close(self, session: str) -> bool:
        """End the conversation with this session id; return when its process is gone. Return False if none has it."""
        found = next((each for each in self.alive if each.process.spec.session == session), None)
        if found is not None:
            await found.process.close()  # it is not alive, so no request takes it, from before the first wait
        return found is not None

    def take(self, request: TurnRequest) -> tuple[Conversation, Route] | None:
        """Remove and return the conversation that the request continues, with its route; None if there is none."""
        self._drop_dead()
        identity, messages = identity_of(request), canonical(request.turns)
        same = [conversation for conversation in self._kept if conversation.state.identity == identity]
        for conversation in reversed(same):
            route = conversation.state.route_for(request) if conversation.state.history == messages else None
            if route is not None:
                return self._taken(conversation), route
        longer = [conversation for conversation in same if conversation.state.can_rewind_to(messages, request.prompt)]
        if not longer:
            return None
        return self._taken(min(longer, key=lambda conversation: len(conversation.state.history))), "rewound"

    def end_passed(self, request: TurnRequest) -> list[Conversation]:
        """End and return the parked conversations that the request continues without the results they wait for."""
        self._drop_dead()
        messages = canonical((*request.turns, request.prompt))
        passed = [kept for kept in self._kept if kept.state.is_passed_by(request, messages)]
        for conversation in passed:
            self._log.debug("conversation.passed")
            self._kept.remove(conversation)
            conversation.process.end("the client continued without the results of its calls")
        return passed

    def keep(self, conversation: Conversation) -> list[Conversation]:
        """Keep an idle or parked conversation; end and return the least recently used ones beyond the limit."""
        conversation.process.expire_at(self._now() + self._wait_s[conversation.state.phase])
        conversation.since = time.time()
        self._drop_dead()
        self._kept.append(conversation)
        evicted = self._kept[: max(0, len(self._kept) - self._limit)]
        del self._kept[: len(evicted)]
        for each in evicted:
            self._log.debug("conversation.evicted")
            each.process.end("too many conversations are open")
        return evicted

    def _taken(self, conversation: Conversation) -> Conversation:
        self._kept.remove(conversation)
        conversation.process.expire_at(inf)
        conversation.state = conversation.state.taken()
        return conversation

    def _drop_dead(self) -> None:
        for conversation in self._kept:
            if conversation.process.outdated:
                conversation.process.end("the date has changed")
        self._kept = self.alive


def _kind(conversation: Conversation) -> Literal["idle", "parked"]:
    return "parked" if conversation.state.phase is Phase.PARKED else "idle"
