"""The registry of kept conversations does in any order what a list of names would.

The model has a conversation's name, speakers and texts, and no turns and blocks. Time is a
number here: neither trio nor a process takes part.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import Phase as Stage
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.sdk.conversation import Conversation
from claude_openai.claude.sdk.conversation_state import ConversationState, Phase, identity_of
from claude_openai.claude.sdk.kept import KeptConversations
from claude_openai.claude.sdk.live_process import LiveProcess
from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import Message, TextBlock
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog
from tests.blocks import result_block

IDLE_S, PARKED_S = 60.0, 600.0

# Who speaks, and the answers so far: "text", or the ids of calls. Few of them, so that equal ones are frequent.
Name = tuple[str, tuple[str, ...]]
answers = st.sampled_from(["text", "a", "ab"])
names = st.tuples(st.sampled_from(["ann", "bob"]), st.lists(answers, min_size=1, max_size=2).map(tuple))
AS_IT_SHOULD_BE = "as it should be"
OTHERWISE = ["with a result less", "with a result more", "with another result", "with a text more"]
ways = st.sampled_from([AS_IT_SHOULD_BE] * 3 + OTHERWISE)


@dataclass(eq=False)
class StandInProcess:
    """What the registry does with a process."""

    clock: SimpleNamespace
    deadline: float = inf
    ended: bool = False
    died: bool = False
    outdated: bool = False

    @property
    def alive(self) -> bool:
        return not self.died and not self.ended and self.clock.now < self.deadline

    def expire_at(self, deadline: float) -> None:
        self.deadline = deadline

    def end(self, reason: str) -> None:
        assert reason
        self.ended = True


class StandIn(Conversation):
    """A conversation without a process; what it holds is made from its name."""

    def __init__(self, name: Name, clock: SimpleNamespace) -> None:
        self.stand_in = StandInProcess(clock)
        super().__init__(cast("LiveProcess", self.stand_in), state_after(name), NULL_LOG)
        self.answered(name)

    def answered(self, name: Name) -> None:
        self.name = name
        self.state = state_after(name)


def state_after(name: Name) -> ConversationState:
    request = request_after(name)
    return ConversationState(
        identity=identity_of(request),
        message_ids=tuple("id" if turn.role == "user" and not turn.has_results else "" for turn in request.turns),
        phase=Phase.PARKED if calls_of(name) else Phase.IDLE,
        history=request.turns,
        pending=calls_of(name),
        settings=TurnSettings.of(request),
    )


def calls_of(name: Name) -> tuple[str, ...]:
    last = name[1][-1]
    return () if last == "text" else tuple(last)


@cache
def request_after(name: Name) -> TurnRequest:
    """The request of a client that goes on from there, with all results if there are calls."""
    user, answers = name
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
    for answer in answers:
        if answer == "text":
            messages += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}]
            continue
        calls = [{"id": i, "type": "function", "function": {"name": "read", "arguments": "{}"}} for i in answer]
        messages += [{"role": "assistant", "content": None, "tool_calls": calls}]
        messages += [{"role": "tool", "tool_call_id": i, "content": "seen"} for i in answer]
    body = {"model": "sonnet", "user": user, "messages": messages}
    return parse_chat_request(json.dumps(body).encode(), ModelCatalog("sonnet", ()))


def put_differently(request: TurnRequest, how: str) -> TurnRequest:
    blocks = request.prompt.blocks
    others = {
        AS_IT_SHOULD_BE: blocks,
        "with a result less": blocks[:-1] or (result_block("z", "seen"),),
        "with a result more": (*blocks, result_block("z", "seen")),
        "with another result": (*blocks[:-1], result_block("z", "seen")),
        "with a text more": (*blocks, TextBlock("And?")),
    }
    return replace(request, prompt=Message("user", others[how]))


class Registry(RuleBasedStateMachine):
    """`waiting` is the model: the waiting conversations, the least recently used first."""

    borrowed = Bundle("borrowed")

    @initialize(kept=st.integers(1, 3))
    def begin(self, kept: int) -> None:
        self.kept = kept
        self.clock = SimpleNamespace(now=0.0)
        self.registry = KeptConversations(kept, IDLE_S, PARKED_S, NULL_LOG, lambda: self.clock.now)
        self.waiting: list[StandIn] = []
        self.evicted: list[StandIn] = []
        self.lent: list[StandIn] = []

    @rule(name=names)
    def one_has_answered_for_the_first_time(self, name: Name) -> None:
        self._keep(StandIn(name, self.clock))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def an_equal_one_has_answered(self, data: st.DataObject) -> None:
        self._keep(StandIn(data.draw(st.sampled_from(self.waiting)).name, self.clock))

    @rule(target=borrowed, name=names, how=ways)
    def a_request_comes(self, name: Name, how: str) -> Any:
        return self._ask(name, how)

    @precondition(lambda self: self.waiting)
    @rule(target=borrowed, data=st.data(), how=ways)
    def a_request_for_one_that_waits_comes(self, data: st.DataObject, how: str) -> Any:
        return self._ask(data.draw(st.sampled_from(self.waiting)).name, how)

    @precondition(lambda self: self.evicted)
    @rule(target=borrowed, data=st.data())
    def a_request_for_one_that_was_evicted_comes(self, data: st.DataObject) -> Any:
        return self._ask(data.draw(st.sampled_from(self.evicted)).name, AS_IT_SHOULD_BE)

    def _ask(self, name: Name, how: str) -> Any:
        fits = how == AS_IT_SHOULD_BE or (how == "with a text more" and not calls_of(name))
        expected = next(
            (one for one in reversed(self.waiting) if one.process.alive and one.name == name and fits), None
        )
        found: Any = self.registry.take(put_differently(request_after(name), how))
        if expected is None and fits and not calls_of(name):
            expected, way = self._longer(name), "rewound"
        else:
            way = "parked" if calls_of(name) else "continued"
        if expected is None:
            assert found is None
            return multiple()
        assert found == (expected, way)
        self.waiting.remove(expected)
        self.lent.append(expected)
        return expected

    def _longer(self, name: Name) -> StandIn | None:
        """The conversation that can be taken back to it: its last answer was text, and it has more turns."""
        longer = [
            one
            for one in self.waiting
            if one.process.alive and not calls_of(one.name) and one.name[0] == name[0] and one.name[1][:-1] == name[1]
        ]
        return longer[0] if longer else None

    @rule(one=consumes(borrowed), answer=answers)
    def a_borrowed_one_has_answered(self, one: StandIn, answer: str) -> None:
        self.lent.remove(one)
        one.answered((one.name[0], (*one.name[1], answer)[-2:]))
        self._keep(one)

    @rule(one=consumes(borrowed))
    def a_borrowed_one_is_broken(self, one: StandIn) -> None:
        self.lent.remove(one)

    def _keep(self, one: StandIn) -> None:
        self.waiting = [other for other in self.waiting if other.process.alive]
        self.waiting.append(one)
        evicted = self.waiting[: max(0, len(self.waiting) - self.kept)]
        del self.waiting[: len(evicted)]
        self.evicted += evicted
        assert self.registry.keep(one) == evicted

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_that_waits_dies(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.waiting)).stand_in.died = True

    @rule(seconds=st.sampled_from([1, IDLE_S - 1, IDLE_S, PARKED_S]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def only_the_evicted_were_ended(self) -> None:
        assert len(self.waiting) <= self.kept
        assert all(one.stand_in.ended for one in self.evicted)
        assert not any(one.stand_in.ended for one in (*self.waiting, *self.lent))

    @invariant()
    def what_is_borrowed_has_no_end_of_its_own(self) -> None:
        assert all(one.stand_in.deadline == inf and one.state.phase is Phase.BUSY for one in self.lent)


Registry.TestCase.settings = settings(max_examples=60, stateful_step_count=30, phases=(Stage.explicit, Stage.generate))
test_the_registry_does_what_a_list_of_names_would = Registry.TestCase
