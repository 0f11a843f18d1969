"""A test of this folder fails if it leaves a process, in any session.

A case of a test that runs Claude Code costs a second of a core or more: the first case always runs, the others are
`long`.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude import assembly
from claude_openai.claude.sdk.settings import SdkSettings
from tests.conditions import lacks
from tests.real.harness import Served, serving
from tests.real.left_over import Process, adopt_orphans, descendants, end_all, wait_gone
from tests.real.own_tools import Place
from tests.real.tool_turns import KEPT

# A process that was killed is gone at once; this is for a machine that is busy with other things.
GONE_S = 30.0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tried: set[tuple[str, object]] = set()
    for item in items:
        case = getattr(item, "callspec", None)
        if case is None or Path(__file__).parent not in item.path.parents or not runs_claude(item):
            continue
        function = item.nodeid.partition("[")[0], case.params.get("backend")
        if function in tried:
            item.add_marker("long")
        tried.add(function)


def runs_claude(item: pytest.Item) -> bool:
    return any("claude" in mark.args for mark in item.iter_markers("needs"))


@pytest.fixture(scope="session")
def earlier_processes() -> set[Process]:
    """The processes that no test has started. From here on every orphan is found."""
    adopt_orphans()
    return descendants()


@pytest.fixture(autouse=True)
def no_process_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    if lacks("/proc"):
        yield
        return
    earlier: set[Process] = request.getfixturevalue("earlier_processes")
    yield
    if left := wait_gone(earlier, GONE_S):
        described = "\n".join(map(str, sorted(left)))
        end_all(left)
        pytest.fail(f"processes are left after the test:\n{described}", pytrace=False)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, **KEPT) as served:
        yield served


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def sdk_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the SDK backends of servers that start later these settings, which no option of the server sets."""

    def give(**settings: Any) -> None:
        monkeypatch.setattr(assembly, "SdkSettings", partial(SdkSettings, **settings))

    return give
