"""Every test of this folder runs under a mock clock that jumps to the next deadline as soon as all tasks wait.

It is set here for all, not by a fixture: a test that forgot the fixture would really sleep.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock


def run(test: Callable[..., Awaitable[object]], clock: None, instruments: Sequence[trio.abc.Instrument]) -> Any:
    """In place of `trio.run`, with pytest-trio's arguments."""
    return trio.run(test, clock=MockClock(autojump_threshold=0), instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            # First, so that it wins over the mark of pytest-trio.
            item.add_marker(pytest.mark.trio(run=run), append=False)
