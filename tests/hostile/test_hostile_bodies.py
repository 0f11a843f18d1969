"""A short version of the attack: a few hundred of its bodies, over connections in memory."""

import pytest

from tests.hostile.bodies import MAX_BYTES, hostile_bodies
from tests.hostile.client import Answer, complaint
from tests.memory.harness import run_in_memory, serving

BODIES = 400
SEED = 7


def test_the_bodies_are_the_same_for_the_same_seed_and_not_too_long() -> None:
    first, again, others = (list(hostile_bodies(seed, 40)) for seed in (1, 1, 2))
    assert first == again
    assert first != others
    assert max(len(body) for _, body in first) <= MAX_BYTES


@pytest.mark.long
def test_no_hostile_body_gets_a_5xx_or_less_than_an_error_object_and_an_id() -> None:
    async def attack() -> None:
        statuses: set[int] = set()
        async with serving() as server:
            for target, body in hostile_bodies(SEED, BODIES):
                answer = await server.ask("POST", target, body, headers={"content-type": "application/json"})
                assert not complaint(Answer(answer.status, dict(answer.headers), answer.body)), body[:300]
                statuses.add(answer.status)
        assert {200, 400} <= statuses

    run_in_memory(attack)
