"""The slots and the queue before them, held against a model of them."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import QueueFull, RateLimited, ShuttingDown
from claude_openai.runs.admission import Admission, Place
from tests.named_keys import named_key


def test_a_request_above_slots_and_queue_is_turned_away_with_a_wait() -> None:
    admission = Admission(2, 1)
    places = [admission.admit() for _ in range(3)]
    with pytest.raises(QueueFull, match="--max-queue-size") as caught:
        admission.admit()
    assert caught.value.headers() == {"retry-after": "5"}
    with places.pop():
        pass
    admission.admit()


def test_a_key_gets_no_more_places_than_its_own_limit() -> None:
    admission, ann = Admission(5, 5), named_key("ann", max_concurrency=2)
    places = [admission.admit(ann) for _ in range(2)]
    with pytest.raises(RateLimited, match="'ann' has 2 turns that run or wait, and may have 2") as caught:
        admission.admit(ann)
    assert (caught.value.code, caught.value.headers()) == ("key_concurrency_exceeded", {"retry-after": "5"})
    for other in (None, named_key("bob", max_concurrency=2)):
        admission.admit(other)
    with places.pop():
        pass
    admission.admit(ann)
    assert admission.rejected["key_limit"] == 1


def test_a_draining_server_turns_all_away() -> None:
    admission = Admission(1, 1)
    admission.draining = True
    with pytest.raises(ShuttingDown) as caught:
        admission.admit()
    assert int(caught.value.headers()["retry-after"]) > 0


def test_place_is_released_after_any_outcome() -> None:
    admission = Admission(1, 0)
    with pytest.raises(ZeroDivisionError), admission.admit():
        raise ZeroDivisionError
    assert (admission.running, admission.queued) == (0, 0)
    admission.admit()


async def test_wait_for_idle_ends_with_the_last_run_or_at_once() -> None:
    admission = Admission(1, 1)
    with trio.fail_after(5):
        await admission.wait_idle()
        first, second = admission.admit(), admission.admit()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admission.wait_idle)
            with second:
                with first:
                    await wait_all_tasks_blocked()
                await wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 1
        assert (admission.running, admission.queued) == (0, 0)


class Model:
    """What admission should do, without any task: arrivals, ends and departures on two lists."""

    def __init__(self, slots: int, queue: int) -> None:
        self.slots, self.queue = slots, queue
        self.running: list[int] = []
        self.waiting: list[int] = []

    def arrive(self, number: int) -> bool:
        if len(self.running) + len(self.waiting) >= self.slots + self.queue:
            return False
        self.waiting.append(number)
        self._fill()
        return True

    def leave(self, number: int) -> None:
        (self.running if number in self.running else self.waiting).remove(number)
        self._fill()

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.slots:
            self.running.append(self.waiting.pop(0))


class Requests:
    """The tasks that are admitted, as `runs` makes them; a request leaves by being cancelled, queued or running."""

    def __init__(self, admission: Admission, nursery: trio.Nursery) -> None:
        self.admission = admission
        self.running: set[int] = set()
        self._nursery = nursery
        self._leave: dict[int, Callable[[], None]] = {}

    def arrive(self, number: int) -> bool:
        try:
            place = self.admission.admit()
        except QueueFull:
            return False
        scope = trio.CancelScope()
        self._leave[number] = scope.cancel
        self._nursery.start_soon(self._request, number, place, scope)
        return True

    def leave(self, number: int) -> None:
        self._leave.pop(number)()

    async def _request(self, number: int, place: Place, scope: trio.CancelScope) -> None:
        with place, scope:
            async with place.slot():
                self.running.add(number)
                try:
                    await trio.sleep_forever()
                finally:
                    self.running.remove(number)


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(0, 4), st.lists(st.integers(0, 11), max_size=40))
def test_slots_are_assigned_in_order_of_arrival(slots: int, queue: int, steps: list[int]) -> None:
    model = Model(slots, queue)

    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                requests = Requests(Admission(slots, queue), nursery)
                for number, step in enumerate(steps):
                    present = sorted([*model.running, *model.waiting])
                    if step < len(present):
                        model.leave(present[step])
                        requests.leave(present[step])
                    else:
                        assert requests.arrive(number) == model.arrive(number)
                    await wait_all_tasks_blocked()
                    assert requests.running == set(model.running)
                    assert requests.admission.running == len(model.running)
                    assert requests.admission.queued == len(model.waiting)
                nursery.cancel_scope.cancel()
            await requests.admission.wait_idle()

    trio.run(main)
