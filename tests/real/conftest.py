"""A test of this folder that leaves a process, in whatever session, fails."""

from collections.abc import Iterator

import pytest

from tests.conditions import lacks
from tests.real.left_over import Process, adopt_orphans, descendants, end_all, wait_gone

# A process that was killed is gone at once; this is for a machine that is busy with other things.
GONE_S = 10.0


@pytest.fixture(scope="session")
def earlier_processes() -> set[Process]:
    """Those that no test has started. From here on every orphan is found."""
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
