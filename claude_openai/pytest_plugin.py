"""A plugin of pytest, which finds it by its entry point: the fixture `claude_server`.

    def test_agent(claude_server):
        claude_server.answer("Hello")
        ...  # a client of claude_server.url, with claude_server.api_key
        assert claude_server.last.prompt == "Hi"

It stands outside of `claude_openai.testing`, and imports that when a test uses the fixture: pytest loads plugins at
every start, also in projects that only have this package installed.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from claude_openai.testing import RunningFakeClaude

__all__ = ["claude_server"]

_SERVER: Final = pytest.StashKey["RunningFakeClaude"]()
_PASSED: Final = pytest.StashKey[bool]()


class _Unchecked(Exception):
    """Ends a fake whose script is not to be checked."""


@pytest.fixture
def claude_server(request: pytest.FixtureRequest) -> Iterator["RunningFakeClaude"]:
    """Serve scripted answers on 127.0.0.1, as `claude_openai.testing.running_fake_claude` does.

    `claude_server.answer(...)` appends to the script, which is empty at first. A test that did not follow it fails.
    """
    from claude_openai.testing import running_fake_claude

    with suppress(_Unchecked), running_fake_claude() as claude:
        request.node.stash[_SERVER] = claude
        yield claude
        # A test that failed, was skipped or never began has its own report. One that passed is checked once more:
        # fixtures that end before this one may have sent requests.
        if not request.node.stash.get(_PASSED, False):
            raise _Unchecked


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Check the script as a part of the test, so that the test fails, and not its teardown after it has passed."""
    __tracebackhide__ = True
    item.stash[_PASSED] = False
    try:
        yield
    except BaseException as error:
        if _SERVER in item.stash:
            for problem in item.stash[_SERVER].problems:
                error.add_note(f"claude_server: {problem}")
        raise
    if _SERVER in item.stash:
        item.stash[_SERVER].check()
    item.stash[_PASSED] = True
