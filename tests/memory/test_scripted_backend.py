"""The scripted backend itself: it answers as scripted, in its time, and records the end of each turn."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import UpstreamError
from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import Message
from claude_openai.protocol.turn.events import Event, TextDelta, TurnCompleted, TurnFailed, TurnStarted, Usage
from claude_openai.protocol.turn.reports import Report
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.testing import Hang, Pause
from tests.scripted_backend import Alive, Crash, ScriptedBackend, TurnStep, deltas, full_turn

BODY = b'{"model":"claude","messages":[{"role":"user","content":"Hi"}]}'
REQUEST = parse_chat_request(BODY, ModelCatalog("sonnet"))


class Said:
    """What was emitted, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event | Alive]] = []

    async def __call__(self, event: Event) -> None:
        self.events.append((trio.current_time(), event))

    def alive(self, what: str, for_s: float = 0) -> None:
        self.events.append((trio.current_time(), Alive(what, for_s)))

    def report(self, report: Report) -> None:
        """A script makes none."""


async def test_a_script_is_played_in_its_order_and_time() -> None:
    said, released = Said(), trio.Event()
    error = TurnFailed(UpstreamError("no"))
    backend = ScriptedBackend(
        (TextDelta("a"), Pause(2), Alive("b", 9), TextDelta("b"), Pause(released), error, TextDelta("c"))
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.turn, REQUEST, said, NULL_LOG)
        turn = await backend.wait_for_turn()
        await trio.sleep(5)
        assert (backend.active, turn.emitted, turn.outcome) == (1, 2, "running")
        released.set()
    assert said.events == [
        (0, TextDelta("a")),
        (2, Alive("b", 9)),
        (2, TextDelta("b")),
        (5, error),
        (5, TextDelta("c")),
    ]
    assert (backend.active, turn.outcome, turn.request) == (0, "returned", REQUEST)


def test_a_full_turn_has_its_start_and_its_end() -> None:
    assert full_turn("a", Pause(1), *deltas(2), finish_reason="length", usage=Usage(1, 2)) == (
        TurnStarted("claude-scripted"),
        TextDelta("a"),
        Pause(1),
        TextDelta("x"),
        TextDelta("x"),
        TurnCompleted("length", Usage(1, 2)),
    )


async def test_each_request_may_have_its_own_script() -> None:
    said = Said()

    def script(request: TurnRequest) -> list[TurnStep]:
        assert isinstance(request.prompt, Message)
        return [TextDelta(request.prompt.text)]

    await ScriptedBackend(script).turn(REQUEST, said, NULL_LOG)
    assert said.events == [(0, TextDelta("Hi"))]


async def test_cancelled_turn_ends_late_and_names_who_cancelled_it() -> None:
    backend = ScriptedBackend((Hang(),), cleanup_s=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.turn, REQUEST, Said(), NULL_LOG)
        turn = await backend.wait_for_turn()
        nursery.cancel_scope.cancel(reason="enough")
        with trio.CancelScope(shield=True):
            await turn.stopped.wait()
            await wait_all_tasks_blocked()
        assert (turn.outcome, turn.cancel_reason, turn.ended.is_set()) == ("cancelled", "enough", False)
        assert backend.active == 1
    assert turn.ended.is_set()
    assert trio.current_time() == 3
    assert (backend.active, backend.most_active) == (0, 1)


async def test_a_crash_is_raised_as_it_is() -> None:
    backend = ScriptedBackend((TextDelta("a"), Crash(ZeroDivisionError("by design"))))
    with pytest.raises(ZeroDivisionError, match="by design"):
        await backend.turn(REQUEST, Said(), NULL_LOG)
    assert (backend.turns[0].outcome, backend.turns[0].emitted, backend.active) == ("raised", 1, 0)
