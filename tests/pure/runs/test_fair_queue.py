"""The order of the slots, held against a model, and the two promises: no key waits for ever, and no slot is lost."""

from collections import deque
from collections.abc import Callable

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import QueueFull
from claude_openai.runs.fair_queue import FairQueue, Ticket

KEYS = ("", "ann", "bob", "eve")
# Steps: a request of a key arrives, a turn ends, a waiting request leaves, the newest one of a key is refused.
ARRIVE = st.tuples(st.just("arrive"), st.sampled_from(KEYS))
STEPS = st.lists(
    st.one_of(ARRIVE, ARRIVE, st.tuples(st.sampled_from(["end", "end", "leave", "refuse"]), st.integers(0, 9))),
    min_size=10,
    max_size=60,
)


class Model:
    """What the queue should do: keys in a circle, each with its requests in the order of arrival."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running: list[int] = []
        self.circle: deque[tuple[str, list[int]]] = deque()

    def arrive(self, key: str, number: int) -> None:
        for name, numbers in self.circle:
            if name == key:
                numbers.append(number)
                return
        self.circle.append((key, [number]))
        self.fill()

    def drop(self, number: int) -> None:
        for _, numbers in self.circle:
            if number in numbers:
                numbers.remove(number)
        self.circle = deque(each for each in self.circle if each[1])

    def end(self, number: int) -> None:
        self.running.remove(number)
        self.fill()

    def fill(self) -> None:
        while self.circle and len(self.running) < self.slots:
            key, (first, *others) = self.circle.popleft()
            self.running.append(first)
            if others:
                self.circle.append((key, others))

    @property
    def waiting(self) -> list[int]:
        return sorted(number for _, numbers in self.circle for number in numbers)


class Requests:
    """The tasks that wait for slots, with the order in which they get them."""

    def __init__(self, slots: int, nursery: trio.Nursery) -> None:
        self.limiter = trio.CapacityLimiter(slots)
        self.queue = FairQueue(self.limiter)
        self.running: list[int] = []
        self.refused: list[int] = []
        self.served: list[str] = []
        self._nursery = nursery
        self._leave: dict[int, Callable[[], None]] = {}
        self._numbers: dict[Ticket, int] = {}

    def arrive(self, key: str, number: int) -> None:
        scope, ticket = trio.CancelScope(), Ticket(key)
        self._leave[number], self._numbers[ticket] = scope.cancel, number
        self._nursery.start_soon(self._request, number, ticket, scope)

    def leave(self, number: int) -> None:
        self._leave.pop(number)()

    def refuse(self, key: str) -> int:
        return self._numbers[self.queue.refuse_newest(key, QueueFull("full"))]

    async def _request(self, number: int, ticket: Ticket, scope: trio.CancelScope) -> None:
        with scope:
            async with self.queue.slot(ticket) as refused:
                if refused is not None:
                    self.refused.append(number)
                    return
                self.running.append(number)
                self.served.append(ticket.key)
                try:
                    await trio.sleep_forever()
                finally:
                    self.running.remove(number)


@settings(max_examples=100)
@given(st.integers(1, 3), STEPS)
def test_slots_go_in_turn_to_the_keys_and_in_order_of_arrival_within_a_key(
    slots: int, steps: list[tuple[str, str | int]]
) -> None:
    model = Model(slots)

    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                requests = Requests(slots, nursery)
                refused = []
                for number, (step, which) in enumerate(steps):
                    among = model.running if step == "end" else model.waiting
                    if step == "arrive":
                        model.arrive(str(which), number)
                        requests.arrive(str(which), number)
                    elif step == "refuse" and model.circle:
                        key, numbers = model.circle[int(which) % len(model.circle)]
                        refused.append(numbers[-1])
                        assert requests.refuse(key) == numbers[-1]
                        model.drop(numbers[-1])
                    elif step in ("end", "leave") and among:
                        one = sorted(among)[int(which) % len(among)]
                        (model.end if step == "end" else model.drop)(one)
                        requests.leave(one)
                    await wait_all_tasks_blocked()
                    assert sorted(requests.running) == sorted(model.running)
                    assert requests.refused == refused
                    assert requests.limiter.borrowed_tokens == len(model.running)
                    assert requests.queue.keys == [key for key, _ in model.circle]
                nursery.cancel_scope.cancel()
            assert requests.limiter.borrowed_tokens == 0
            assert requests.queue.keys == []

    trio.run(main)


@settings(max_examples=50)
@given(st.integers(1, 3), st.lists(st.sampled_from(KEYS), min_size=1, max_size=40))
def test_while_a_key_waits_no_other_gets_two_slots(slots: int, arrivals: list[str]) -> None:
    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                requests = Requests(slots, nursery)
                for number, key in enumerate(arrivals):
                    requests.arrive(key, number)
                    await wait_all_tasks_blocked()
                # The slots that each key has seen others get since its last one, or since it began to wait.
                seen: dict[str, list[str]] = {key: [] for key in requests.queue.keys}
                while requests.running:
                    before = len(requests.served)
                    requests.leave(requests.running[0])
                    await wait_all_tasks_blocked()
                    for served in requests.served[before:]:
                        for key, others in seen.items():
                            others.append(served)
                            assert key == served or others.count(served) <= 1
                        seen[served] = []
                    seen = {key: seen[key] for key in requests.queue.keys}
                assert sorted(requests.served) == sorted(arrivals)

    trio.run(main)


async def test_a_slot_whose_request_is_cancelled_before_it_runs_goes_to_the_next() -> None:
    async with trio.open_nursery() as nursery:
        requests = Requests(1, nursery)
        for number in range(3):
            requests.arrive("ann", number)
            await wait_all_tasks_blocked()
        requests.leave(0)
        requests.leave(1)  # gets the slot in the same moment
        await wait_all_tasks_blocked()
        assert requests.running == [2]
        requests.leave(2)
        await wait_all_tasks_blocked()
        assert requests.limiter.borrowed_tokens == 0
