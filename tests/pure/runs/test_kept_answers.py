"""Answers that have ended are kept within bounds."""

import pytest
import trio
from trio.testing import MockClock

from claude_openai.runs.kept_answers import ANSWER_BYTES, KEPT_S, KeptAnswers


async def test_the_oldest_answers_are_dropped_beyond_the_number() -> None:
    kept: KeptAnswers[str, int] = KeptAnswers(max_answers=2)
    for number, name in enumerate("abc"):
        kept.put(name, number, 0)
    assert [kept.get(name) for name in "abc"] == [None, 1, 2]


async def test_the_oldest_answers_are_dropped_beyond_the_size() -> None:
    kept: KeptAnswers[str, int] = KeptAnswers(max_bytes=3 * ANSWER_BYTES)
    kept.put("a", 0, 0)
    kept.put("b", 1, ANSWER_BYTES)
    assert [kept.get(name) for name in "ab"] == [0, 1]
    kept.put("b", 2, 0)  # in place of the earlier one, whose size no longer counts
    kept.put("c", 3, 0)
    assert [kept.get(name) for name in "abc"] == [0, 2, 3]
    kept.drop("b")
    kept.put("d", 4, 2 * ANSWER_BYTES)
    assert [kept.get(name) for name in "abcd"] == [None, None, None, 4]


async def test_an_answer_is_dropped_after_its_time(autojump_clock: MockClock) -> None:
    kept: KeptAnswers[str, int] = KeptAnswers()
    kept.put("a", 0, 0)
    await trio.sleep(KEPT_S / 2)
    kept.put("b", 1, 0)
    await trio.sleep(KEPT_S / 2)
    assert [kept.get(name) for name in "ab"] == [None, 1]


@pytest.mark.parametrize("name", ["a", "b"])
async def test_drop_removes_a_kept_answer_and_ignores_others(name: str) -> None:
    kept: KeptAnswers[str, int] = KeptAnswers()
    kept.put("a", 0, 0)
    kept.drop(name)
    assert kept.get(name) is None
