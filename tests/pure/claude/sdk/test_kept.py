"""Which conversation a request meets, how long one waits, and the processes that are started ahead of need."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from claude_openai.claude.sdk.conversation import Conversation, ParkedCalls
from claude_openai.claude.sdk.conversation_state import Phase
from claude_openai.claude.sdk.kept import KeptConversations
from claude_openai.claude.sdk.live_process import LiveProcess
from claude_openai.claude.sdk.spares import (
    CHECK_S,
    IDLE_S,
    MAX_RETRY_S,
    MIN_AVAILABLE_MB,
    RETRY_S,
    Spares,
)
from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.turn.blocks import Block, Message, TextBlock, ToolUseBlock
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import ToolChoice
from tests.blocks import result_block
from tests.pure.claude.sdk.conversations import (
    HELLO,
    MODEL,
    TOOLS,
    Events,
    StandIn,
    StandInProcess,
    asked,
    calling,
    going_on,
    idle_one,
    parked_one,
    say,
    spec,
    with_results,
)

REFILL_DELAY_S = 1.0
IDLE_LIMIT_S = 60.0
PARKED_LIMIT_S = 600.0


def take(spares: Spares[str], model: str = MODEL) -> StandInProcess | None:
    return cast("StandInProcess | None", spares.take(model))


@pytest.fixture
def events() -> Events:
    return Events()


def registry(events: Events, kept: int = 8) -> KeptConversations:
    return KeptConversations(kept, IDLE_LIMIT_S, PARKED_LIMIT_S, events.log)


async def test_a_conversation_of_yesterday_is_not_taken_and_ends(events: Events) -> None:
    kept, conversation = registry(events), idle_one()
    kept.keep(conversation)
    cast("StandInProcess", conversation.process).outdated = True
    assert kept.take(going_on()) is None
    assert not conversation.process.alive


async def test_a_request_goes_on_with_the_conversation_that_answered_before_it(events: Events) -> None:
    conversations, one = registry(events), idle_one()
    conversations.keep(one)
    assert conversations.take(going_on()) == (one, "continued")
    assert one.stand_in.scope.deadline == inf


async def test_what_is_found_is_taken_out_and_may_be_kept_again(events: Events) -> None:
    conversations, one = registry(events), idle_one()
    conversations.keep(one)
    assert conversations.take(going_on()) is not None
    assert conversations.take(going_on()) is None
    one.answer_again()
    conversations.keep(one)
    assert conversations.take(going_on()) == (one, "continued")


async def test_without_conversations_none_is_found(events: Events) -> None:
    assert registry(events).take(going_on()) is None


async def test_a_conversation_that_is_dead_is_not_found(events: Events) -> None:
    conversations, one, other = registry(events), idle_one(), idle_one()
    conversations.keep(one)
    conversations.keep(other)
    one.stand_in.died = True
    other.process.end("a test")
    assert conversations.take(going_on()) is None


async def test_of_equal_conversations_the_last_used_is_found_first(events: Events) -> None:
    conversations, first, second = registry(events), idle_one(), idle_one()
    conversations.keep(first)
    conversations.keep(second)
    assert conversations.take(going_on()) == (second, "continued")
    assert conversations.take(going_on()) == (first, "continued")


NOT_THE_SAME: list[dict[str, Any]] = [
    {"user": "ann"},
    {"model": "opus"},
    {"tools": TOOLS[:1]},
    {"tools": TOOLS[::-1]},
    {"tools": None},
    {"tool_choice": "required"},
    {"tool_choice": "none"},
    {"parallel_tool_calls": False},
    {"response_format": {"type": "json_object"}},
    {"claude": {"workingDirectory": "/w"}},
    {"claude": {"permissionMode": "plan"}},
    {"claude": {"toolMode": "readonly"}},
]


@pytest.mark.parametrize("fields", NOT_THE_SAME)
async def test_a_request_with_another_identity_meets_no_conversation(events: Events, fields: dict[str, Any]) -> None:
    conversations, one, longer = registry(events), idle_one(), StandIn(going_on(), TextBlock("Well."))
    conversations.keep(longer)
    conversations.keep(one)
    assert conversations.take(going_on(**fields)) is None
    assert conversations.take(going_on()) == (one, "continued")
    assert conversations.take(going_on()) == (longer, "rewound")


@pytest.mark.parametrize(
    "fields",
    [{"reasoning_effort": "high"}, {"max_tokens": 7}, {"stop": "x"}, {"stream": True}, {"metadata": {"a": "b"}}],
)
async def test_what_can_differ_from_turn_to_turn_is_no_identity(events: Events, fields: dict[str, Any]) -> None:
    conversations = registry(events)
    conversations.keep(idle_one())
    assert conversations.take(going_on(**fields)) is not None


async def test_a_forced_tool_and_the_only_tool_are_not_the_same(events: Events) -> None:
    request = replace(going_on(tools=TOOLS[:1]), tool_choice=ToolChoice("required", "read"))
    conversations, one = registry(events), StandIn(asked(*HELLO, tools=TOOLS[:1]), TextBlock("Hello."))
    conversations.keep(one)
    assert conversations.take(request) is None


@pytest.mark.parametrize(
    "fields",
    [{"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, {"metadata": {"run": "2"}}],
)
async def test_what_only_concerns_the_answer_is_no_part_of_the_identity(events: Events, fields: dict[str, Any]) -> None:
    conversations, one = registry(events), idle_one()
    conversations.keep(one)
    assert conversations.take(going_on(**fields)) == (one, "continued")


def after(count: int) -> TurnRequest:
    """The request that follows so many exchanges."""
    exchanges = (m for number in range(count) for m in (say("assistant", "Hello."), say("user", f"And {number}?")))
    return asked(*HELLO, *exchanges)


@pytest.mark.parametrize("more", [1, 4])
async def test_conversation_a_few_exchanges_ahead_is_rewound(events: Events, more: int) -> None:
    conversations, one = registry(events), StandIn(after(more), TextBlock("Hello."))
    conversations.keep(one)
    assert conversations.take(after(1)) == (one, "rewound")


async def test_conversation_far_ahead_is_kept_for_its_owner(events: Events) -> None:
    conversations, one = registry(events), StandIn(after(5), TextBlock("Hello."))
    conversations.keep(one)
    assert conversations.take(after(1)) is None
    assert conversations.take(after(6)) == (one, "continued")


async def test_rewinding_takes_the_conversation_with_the_least_surplus(events: Events) -> None:
    conversations, most, least = registry(events), *(StandIn(after(n), TextBlock("Hello.")) for n in (4, 2))
    for one in (least, most):
        conversations.keep(one)
    assert conversations.take(after(1)) == (least, "rewound")


async def test_prompt_with_results_that_no_call_asked_for_rewinds_nothing(events: Events) -> None:
    conversations, one = registry(events), StandIn(after(2), TextBlock("Hello."))
    conversations.keep(one)
    request = after(1)
    prompt = Message("user", (*request.prompt.blocks, result_block("z", "seen")))
    assert conversations.take(replace(request, prompt=prompt)) is None


async def test_nothing_is_taken_back_to_results_to_a_beginning_or_out_of_its_turn(events: Events) -> None:
    conversations, parked = registry(events), StandIn(after(2), ToolUseBlock("c", "read", "{}"))
    for one in (StandIn(with_results("a", "b"), TextBlock("Seen.")), parked):
        conversations.keep(one)
    assert conversations.take(after(1)) is None
    assert conversations.take(with_results("a", "b")) is None
    assert conversations.take(asked(*HELLO)) is None
    assert conversations.take(asked(*HELLO, calling("a", "b"), say("user", "Stop."))) is None


MORE = say("user", "And?")
OTHER_HISTORIES = [
    [say("user", "And?")],
    [say("user", "Hi"), MORE],
    [say("system", "Be brief."), say("user", "Hi"), say("assistant", "Hello"), MORE],
    [say("system", "Be brief."), say("user", "hi"), say("assistant", "Hello."), MORE],
    [say("system", "Be long."), say("user", "Hi"), say("assistant", "Hello."), MORE],
    [say("system", "Be brief."), say("user", "Hi "), say("assistant", "Hello."), MORE],
    [*HELLO, say("assistant", "Hello."), say("user", "So?"), say("assistant", "So."), MORE],
    [*HELLO, say("assistant", "Hel"), say("assistant", "lo"), MORE],
    [say("user", "H"), say("user", "i"), say("assistant", "Hello."), MORE],
    [say("user", "Before"), say("assistant", "Yes"), *HELLO, say("assistant", "Hello."), MORE],
    HELLO,
]


@pytest.mark.parametrize("messages", OTHER_HISTORIES)
async def test_a_history_that_differs_in_anything_meets_no_conversation(
    events: Events, messages: list[dict[str, Any]]
) -> None:
    conversations = registry(events)
    conversations.keep(idle_one())
    assert conversations.take(asked(*messages)) is None


async def test_an_answer_that_comes_back_in_pieces_is_the_same_answer(events: Events) -> None:
    # So it does on the Responses API, where text that follows reasoning is a message of its own.
    conversations, one = registry(events), idle_one()
    conversations.keep(one)
    in_pieces = asked(*HELLO, say("assistant", "Hel"), say("assistant", "lo."), MORE)
    assert conversations.take(in_pieces) == (one, "continued")


FORM = {"type": "object", "properties": {"a": {"type": "string"}}}


def formed(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}


async def test_the_label_of_a_form_is_no_part_of_the_identity_and_its_schema_is(events: Events) -> None:
    conversations, one = registry(events), StandIn(asked(*HELLO, **formed("one", FORM)), TextBlock("Hello."))
    conversations.keep(one)
    assert conversations.take(going_on(**formed("one", {"type": "object"}))) is None
    assert conversations.take(going_on(**formed("another", FORM))) == (one, "continued")


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_the_results_of_all_calls_go_to_the_conversation_that_is_parked_with_them(
    events: Events, order: str
) -> None:
    conversations, one = registry(events), parked_one("a", "b")
    conversations.keep(one)
    assert conversations.take(with_results(*order)) == (one, "parked")
    assert one.stand_in.scope.deadline == inf


async def test_results_and_a_text_do_not_go_to_a_parked_conversation(events: Events) -> None:
    # The calls take results and nothing else: the text would be lost.
    conversations = registry(events)
    conversations.keep(parked_one("a", "b"))
    assert conversations.take(with_results("a", "b", more=(MORE,))) is None
    assert conversations.take(with_results("a", "b")) is not None


@pytest.mark.parametrize(
    "blocks",
    [
        [TextBlock("And?")],
        [result_block("a", "42")],
        [result_block("a", "42"), result_block("c", "42")],
        [result_block("a", "42"), result_block("b", "42"), result_block("c", "42")],
    ],
)
async def test_anything_but_exactly_the_results_it_waits_for_meets_no_parked_conversation(
    events: Events, blocks: list[Block]
) -> None:
    conversations = registry(events)
    conversations.keep(parked_one("a", "b"))
    assert conversations.take(replace(with_results("a", "b"), prompt=Message("user", tuple(blocks)))) is None


async def test_results_meet_no_conversation_that_waits_for_none(events: Events) -> None:
    conversations, one = registry(events), parked_one("a", "b")
    one.state = replace(one.state, phase=Phase.IDLE, pending=())
    conversations.keep(one)
    assert conversations.take(with_results("a", "b")) is None


@pytest.mark.parametrize("changed", [{"max_tokens": 9}, {"reasoning_effort": "low"}])
async def test_a_turn_goes_on_only_with_the_settings_that_it_began_with(
    events: Events, changed: dict[str, Any]
) -> None:
    conversations = registry(events)
    parked = parked_one("a")
    conversations.keep(parked)
    with_others = asked(*HELLO, calling("a"), say("tool", "42", tool_call_id="a"), **changed)
    assert conversations.take(with_others) is None
    assert conversations.take(with_results("a", calls=("a",))) == (parked, "parked")


def ended(conversations: KeptConversations, request: TurnRequest) -> list[Conversation]:
    assert conversations.take(request) is None
    return conversations.end_passed(request)


PAST = [
    with_results("a", "b", more=(MORE,)),
    with_results("a", "b", more=(say("assistant", "So."), MORE)),
    asked(*HELLO, calling("a", "b"), *[say("tool", "42", tool_call_id=i) for i in "ab"], reasoning_effort="low"),
    asked(*HELLO, calling("a", "b"), *[say("tool", "42", tool_call_id=i) for i in "ab"], tools=TOOLS[:1]),
    with_results("a", "b", more=(say("user", "x" * 500_001),)),
]


async def test_a_conversation_is_neither_continued_nor_ended_by_another_caller(events: Events) -> None:
    conversations, idle, parked = registry(events), idle_one(), parked_one("a", "b")
    for each in (idle, parked):
        conversations.keep(each)
    for request in (going_on(), with_results("a", "b"), *PAST):
        assert ended(conversations, replace(request, caller="bob")) == []
    assert conversations.counts() == {"idle": 1, "parked": 1}
    assert conversations.take(going_on()) == (idle, "continued")


@pytest.mark.parametrize("request_", PAST)
async def test_a_parked_conversation_that_a_request_goes_past_is_ended_at_once(
    events: Events, request_: TurnRequest
) -> None:
    conversations, one, idle = registry(events), parked_one("a", "b"), idle_one()
    for each in (one, idle):
        conversations.keep(each)
    assert ended(conversations, request_) == [one]
    assert not one.process.alive
    assert idle.process.alive
    assert conversations.counts() == {"idle": 1, "parked": 0}
    assert len(events.of("conversation.passed")) == 1


@pytest.mark.parametrize(
    "request_",
    [
        going_on(),
        asked(*HELLO),
        asked(*HELLO, calling("c", "d"), *[say("tool", "42", tool_call_id=i) for i in "cd"], MORE),
        asked(say("user", "Before"), say("assistant", "Yes"), *HELLO, calling("a", "b"),
              *[say("tool", "42", tool_call_id=i) for i in "ab"], MORE),
    ],
)  # fmt: skip
async def test_a_parked_conversation_that_a_request_does_not_go_past_waits_on(
    events: Events, request_: TurnRequest
) -> None:
    conversations, one = registry(events), parked_one("a", "b")
    conversations.keep(one)
    assert ended(conversations, request_) == []
    assert one.process.alive


def function_request(*said: dict[str, Any], **fields: Any) -> TurnRequest:
    functions = [{"name": "read"}]
    return asked(*HELLO, *said, tools=None, functions=functions, **fields)


FUNCTION_CALL = say("assistant", None, function_call={"name": "read", "arguments": "{}"})
FUNCTION_RESULT = {"role": "function", "name": "read", "content": "42"}


@pytest.mark.parametrize(("fields", "is_ended"), [({}, True), ({"user": "ann"}, False), ({"model": "opus"}, False)])
async def test_functions_have_no_ids_so_only_the_same_caller_goes_past_a_call(
    events: Events, fields: dict[str, Any], is_ended: bool
) -> None:
    conversations, one = registry(events), StandIn(function_request(), ToolUseBlock("toolu_1", "read", "{}"))
    conversations.keep(one)
    assert ended(conversations, function_request(FUNCTION_CALL, FUNCTION_RESULT, **fields)) == [one] * is_ended
    assert one.process.alive != is_ended


async def test_equal_calls_of_two_conversations_are_distinguished_by_ids(events: Events) -> None:
    conversations, one, other = registry(events), parked_one("a"), parked_one("b")
    conversations.keep(one)
    conversations.keep(other)
    assert conversations.take(with_results("a", calls=("a",))) == (one, "parked")
    assert conversations.take(with_results("b", calls=("b",))) == (other, "parked")


async def test_beyond_the_bound_the_least_recently_used_ends(events: Events) -> None:
    conversations, many = registry(events, kept=2), [parked_one(i) for i in "abc"]
    conversations.keep(many[0])
    conversations.keep(many[1])
    assert conversations.take(with_results("a", calls=("a",))) == (many[0], "parked")
    many[0].answer_again()
    conversations.keep(many[0])
    assert events.of("conversation.evicted") == []
    conversations.keep(many[2])
    assert [one.process.alive for one in many] == [True, False, True]
    assert len(events.of("conversation.evicted")) == 1


async def test_leased_conversation_is_not_counted_and_never_expires(events: Events, autojump_clock: MockClock) -> None:
    conversations, one = registry(events, kept=1), idle_one()
    conversations.keep(one)
    assert conversations.take(going_on()) is not None
    conversations.keep(parked_one("a"))
    await trio.sleep(10 * PARKED_LIMIT_S)
    assert one.process.alive


async def test_the_dead_do_not_count_towards_the_bound(events: Events) -> None:
    conversations, dead, one, other = registry(events, kept=2), idle_one(), idle_one(), idle_one()
    for conversation in (one, dead):
        conversations.keep(conversation)
    dead.stand_in.died = True
    conversations.keep(other)
    assert one.process.alive
    assert other.process.alive


async def test_kept_conversation_ends_at_once_if_none_may_wait(events: Events) -> None:
    one = idle_one()
    registry(events, kept=0).keep(one)
    assert not one.process.alive


@pytest.mark.parametrize(
    ("make", "request_of", "limit_s"),
    [
        (idle_one, going_on, IDLE_LIMIT_S),
        (lambda: parked_one("a", "b"), lambda: with_results("a", "b"), PARKED_LIMIT_S),
    ],
    ids=["idle", "parked"],
)
async def test_conversation_without_requests_ends_after_its_time(
    events: Events, autojump_clock: MockClock, make: Any, request_of: Any, limit_s: float
) -> None:
    conversations = registry(events)
    one: StandIn = make()

    async def live() -> None:
        with one.stand_in.scope:
            await trio.sleep_forever()
        one.stand_in.died = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        conversations.keep(one)
        await trio.sleep(limit_s - 1)
        assert conversations.take(request_of()) is not None
        one.answer_again()
        conversations.keep(one)  # its time begins again
        await trio.sleep(limit_s - 1)
        assert not one.stand_in.died
        await trio.sleep(2)
        assert [one.stand_in.died] == [True]
    assert conversations.take(request_of()) is None


class Starter:
    """Starts stand-ins, or fails as often as the test asks for."""

    def __init__(self) -> None:
        self.started: list[StandInProcess] = []
        self.times: list[float] = []
        self.failures = 0
        self.missing = False

    async def __call__(self, model: str) -> LiveProcess | None:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        if self.missing:
            return None
        if self.failures:
            self.failures -= 1
            return cast("LiveProcess", StandInProcess(died=True, failure="no such program"))
        self.started.append(StandInProcess(model=model))
        return cast("LiveProcess", self.started[-1])


@pytest.fixture
def starter() -> Starter:
    return Starter()


def spares_for(
    count: int, starter: Starter, events: Events, available_mb: Callable[[], int | None] = lambda: MIN_AVAILABLE_MB
) -> Spares[str]:
    return Spares(
        count, starter, events.log, [MODEL], max_kinds=2, refill_delay_s=REFILL_DELAY_S, available_mb=available_mb
    )


@asynccontextmanager
async def refilling(spares: Spares[str]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spares.refill)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("count", [1, 3])
async def test_as_many_spares_as_wanted_are_started_and_no_more(events: Events, starter: Starter, count: int) -> None:
    spares = spares_for(count, starter, events)
    async with refilling(spares):
        await wait_all_tasks_blocked()
        assert len(starter.started) == count


async def test_a_spare_that_is_taken_is_replaced_a_little_later(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(2, starter, events)
    async with refilling(spares):
        await wait_all_tasks_blocked()
        assert take(spares) in starter.started
        await trio.sleep(REFILL_DELAY_S / 2)
        assert len(starter.started) == 2
        await trio.sleep(REFILL_DELAY_S)
        assert len(starter.started) == 3
        taken = [take(spares), take(spares)]
        assert set(map(id, taken)) < set(map(id, starter.started))
        assert taken[0] is not taken[1]
        assert take(spares) is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert len(starter.started) == 5


async def test_before_the_first_is_ready_there_is_none(events: Events, starter: Starter) -> None:
    assert take(spares_for(2, starter, events)) is None


async def test_spare_of_yesterday_is_not_used_and_ends(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(2, starter, events)
    async with refilling(spares):
        await wait_all_tasks_blocked()
        first, second = starter.started
        second.outdated = True
        assert take(spares) is first
        assert not second.alive


async def test_dead_spare_is_not_used_and_is_replaced(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(2, starter, events)
    async with refilling(spares):
        await wait_all_tasks_blocked()
        first, second = starter.started
        second.died = True
        assert take(spares) is first
        assert take(spares) is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert len(starter.started) == 4


async def test_a_start_that_fails_is_logged_and_tried_again_later(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    starter.failures = 2
    spares = spares_for(1, starter, events)
    async with refilling(spares):
        await trio.sleep(RETRY_S / 2)
        assert len(starter.times) == 1
        assert take(spares) is None
        await trio.sleep(3 * RETRY_S)
        assert len(starter.started) == 1
        assert take(spares) is starter.started[0]
    assert [record["error"] for record in events.of("spare.failed")] == ["no such program"] * 2
    assert {record["level"] for record in events.of("spare.failed")} == {"warning"}
    waits = [later - sooner for sooner, later in zip(starter.times, starter.times[1:], strict=False)]
    assert waits == pytest.approx([RETRY_S, 2 * RETRY_S])


async def test_failing_starts_become_rare_and_end_without_requests(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    starter.failures = 10**6
    spares = spares_for(1, starter, events)
    async with refilling(spares):
        await trio.sleep(100 * IDLE_S)
        tries = len(starter.times)
        assert starter.times[-1] < IDLE_S + MAX_RETRY_S
        assert tries < 12
        assert take(spares) is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert len(starter.times) == tries + 1


async def test_dead_spare_is_replaced_without_a_request(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(1, starter, events)
    async with refilling(spares):
        await wait_all_tasks_blocked()
        starter.started[0].died = True
        await trio.sleep(CHECK_S + 1)
        assert take(spares) is starter.started[1]


async def test_without_a_program_a_spare_is_tried_once_per_request_silently(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    starter.missing = True
    spares = spares_for(2, starter, events)
    async with refilling(spares):
        for asked in range(1, 4):
            await trio.sleep(IDLE_S / 2)
            assert len(starter.times) == asked
            assert take(spares) is None
        starter.missing = False
        await trio.sleep(2 * REFILL_DELAY_S)
        assert take(spares) in starter.started
    assert events.of("spare.failed") == []


async def test_where_no_spares_are_wanted_none_is_ever_started(events: Events, starter: Starter) -> None:
    spares = spares_for(0, starter, events)
    with trio.fail_after(20):
        await spares.refill()
    assert take(spares) is None
    assert starter.times == []


async def test_spares_end_without_requests_and_start_with_the_next_one(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(2, starter, events)
    async with refilling(spares):
        await trio.sleep(IDLE_S - 1)
        assert all(spare.alive for spare in starter.started)
        await trio.sleep(2)
        assert [spare.alive for spare in starter.started] == [False, False]
        assert [record["count"] for record in events.of("spare.idle")] == [2]
        await trio.sleep(10 * IDLE_S)
        assert len(starter.started) == 2
        assert take(spares) is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert len(starter.started) == 4
        assert take(spares) in starter.started[2:]


async def test_the_two_models_asked_for_last_have_spares_and_those_of_an_older_one_are_ended(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(1, starter, events)
    async with refilling(spares):
        await wait_all_tasks_blocked()
        assert take(spares, "haiku") is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert [(spare.model, spare.alive) for spare in starter.started] == [(MODEL, True), ("haiku", True)]
        assert take(spares, "haiku") is starter.started[1]
        assert take(spares, "opus") is None
        assert [spare.alive for spare in starter.started] == [False, True]  # that of the model to begin with
        await trio.sleep(4 * REFILL_DELAY_S)
        assert sorted(spare.model for spare in starter.started[2:]) == ["haiku", "opus"]


async def test_each_request_puts_the_end_of_the_spares_off(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    spares = spares_for(1, starter, events)
    async with refilling(spares):
        for _ in range(3):
            await trio.sleep(IDLE_S - 10)
            assert take(spares) is not None
        await trio.sleep(IDLE_S - 10)
        assert [spare.alive for spare in starter.started[-1:]] == [True]
        await trio.sleep(20)
        assert [spare.alive for spare in starter.started[-1:]] == [False]


async def test_on_a_machine_that_is_short_of_memory_no_spare_is_started_until_there_is_more(
    events: Events, starter: Starter, autojump_clock: MockClock
) -> None:
    available: list[int | None] = [MIN_AVAILABLE_MB - 1]
    spares = spares_for(1, starter, events, lambda: available[-1])
    async with refilling(spares):
        await trio.sleep(IDLE_S / 2)
        assert starter.times == []
        assert [record["level"] for record in events.of("spare.short_of_memory")] == ["warning"]
        assert take(spares) is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert starter.times == []
        available.append(None)  # where it is unknown
        assert take(spares) is None
        await trio.sleep(2 * REFILL_DELAY_S)
        assert len(starter.started) == 1


def parked_with(*calls: str) -> tuple[StandIn, ParkedCalls]:
    conversation = parked_one(*calls)
    parked = conversation.parked()
    assert parked is not None
    assert parked.waiting
    return conversation, parked


async def test_calls_are_parked_until_their_results_come() -> None:
    conversation, parked = parked_with("a", "b")
    conversation.state = conversation.state.taken()
    assert not parked.waiting
    assert conversation.parked() is None


async def test_calls_are_parked_until_others_are_made(events: Events) -> None:
    conversation, parked = parked_with("a")
    conversation.state = parked_one("b").state
    assert not parked.waiting
    await parked.close()
    assert conversation.process.alive


async def test_calls_are_parked_until_their_conversation_expires_is_evicted_or_is_gone() -> None:
    conversation, parked = parked_with("a")
    conversation.process.expire_at(trio.current_time())
    assert not parked.waiting
    conversation, parked = parked_with("a")
    conversation.process.end("evicted")
    assert not parked.waiting
    conversation, parked = parked_with("a")
    del conversation
    gc.collect()
    assert not parked.waiting
    await parked.close()


async def test_calls_that_are_closed_end_their_conversation() -> None:
    conversation, parked = parked_with("a")
    await parked.close()
    assert not conversation.process.alive


async def test_a_process_whose_nursery_ends_is_gone_and_close_returns_at_once(autojump_clock: MockClock) -> None:
    opened = trio.Event()

    @asynccontextmanager
    async def never_ready() -> AsyncIterator[Any]:
        opened.set()
        await trio.sleep(inf)
        yield

    process = LiveProcess(spec(never_ready), NULL_LOG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.live)
        await opened.wait()
        nursery.cancel_scope.cancel()
    before = trio.current_time()
    await process.close()
    assert trio.current_time() == before
