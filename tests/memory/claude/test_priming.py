"""How often notes are learnt and checked, on a clock of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from claude_openai.claude import priming
from claude_openai.claude.priming import CHECK_DELAY_S, MAX_MODELS, Primer
from claude_openai.claude.process.launcher import Launcher
from claude_openai.claude.transcript.session_file import Notes
from claude_openai.logs.log import NULL_LOG

HOUR_S = 3600.0
NOTES: Notes = ({"type": "date"},)


class _Installed:
    def program(self) -> Path:
        return Path("/nowhere/claude")


class _Counting(Primer):
    """Counts the turns, which take no time.

    Attributes:
        added: what each check finds besides the conversation.
    """

    def __init__(self) -> None:
        super().__init__(cast("Launcher", _Installed()), cast("Any", None), NULL_LOG)
        self.learnt: list[str] = []
        self.checked: list[str] = []
        self.added = ["a note"]

    async def _probe(self, model: str) -> Notes:
        await trio.lowlevel.checkpoint()
        self.learnt.append(model)
        return NOTES

    async def _added(self, model: str, notes: Notes) -> list[str]:
        await trio.lowlevel.checkpoint()
        self.checked.append(model)
        return self.added


@asynccontextmanager
async def running() -> AsyncIterator[_Counting]:
    async with trio.open_nursery() as nursery:
        primer = _Counting()
        nursery.start_soon(primer.run)
        yield primer
        nursery.cancel_scope.cancel()


async def test_notes_that_never_help_are_learnt_twice() -> None:
    async with running() as primer:
        await primer.notes("sonnet")
        await trio.sleep(HOUR_S)
        assert primer.learnt == primer.checked == ["sonnet", "sonnet"]
        assert await primer.notes("sonnet") == NOTES


async def test_notes_that_help_are_learnt_once() -> None:
    async with running() as primer:
        primer.added = []
        await primer.notes("sonnet")
        await trio.sleep(HOUR_S)
        assert primer.learnt == primer.checked == ["sonnet"]


async def test_notes_of_more_models_than_are_kept_are_learnt_at_most_twice() -> None:
    models = [f"claude-{number}" for number in range(MAX_MODELS + 8)]
    async with running() as primer:
        for model in models:
            await primer.notes(model)
        await trio.sleep(HOUR_S)
        assert max(map(primer.learnt.count, models)) <= 2


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The date is the last of these."""
    dates = ["2000-01-01"]
    monkeypatch.setattr(priming, "today", lambda: dates[-1])
    return dates


async def test_notes_of_yesterday_are_not_checked_nor_learnt_again(days: list[str]) -> None:
    async with running() as primer:
        await primer.notes("sonnet")
        await trio.sleep(CHECK_DELAY_S / 2)
        days.append("2000-01-02")
        await trio.sleep(CHECK_DELAY_S)
        assert primer.checked == []
        assert await primer.notes("sonnet") == NOTES
        primer.added = []
        await trio.sleep(HOUR_S)
        assert primer.learnt == ["sonnet", "sonnet"]
        assert primer.checked == ["sonnet"]
