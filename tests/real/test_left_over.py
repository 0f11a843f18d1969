"""What a test leaves running is found wherever it hides; a child that this process waits for is left to it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.conditions import needs
from tests.inner_pytest import run_pytest
from tests.real.left_over import Process, end_all, reap_adopted, wait_gone

pytestmark = [needs("/proc"), needs("setsid")]

LIMIT_S = 60.0
HIDDEN = {
    "in a session of its own": "setsid -f sleep 1000",
    "without its environment": "env -i setsid -f sleep 1000",
    "daemonised twice": "setsid -f setsid -f sleep 1000",
    "in the group of its parent": "sleep 1000 &",
}


@pytest.mark.parametrize("command", HIDDEN.values(), ids=HIDDEN)
def test_a_process_that_hides_is_found_and_ended(earlier_processes: set[Process], command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + LIMIT_S
    left = wait_gone(earlier_processes, 0.0)
    # Until then it is a setsid that has to fork, or there are both.
    while [str(each).partition(": ")[2] for each in left] != ["sleep 1000 "]:
        assert time.monotonic() < deadline, list(map(str, left))
        left = wait_gone(earlier_processes, 0.0)
    end_all(left)
    assert wait_gone(earlier_processes, LIMIT_S) == set()


def test_dead_orphan_is_reaped_and_dead_child_is_left_to_its_waiter(
    earlier_processes: set[Process],
) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 1000 & exit 7"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        end_all({each for each in wait_gone(earlier_processes, 0.0) if each.pid != child.pid})
        reap_adopted()
        (dead,) = wait_gone(earlier_processes, 1.0)
        assert dead.pid == child.pid
        assert child.wait(LIMIT_S) == 7
    assert wait_gone(earlier_processes, LIMIT_S) == set()


MODULE = """
import subprocess
from tests.real import conftest

conftest.GONE_S = 0.1

def test_leaves_one(): subprocess.run(["env", "-i", "setsid", "-f", "sleep", "1000"], check=True)
def test_comes_after(): pass
"""


@pytest.mark.long
def test_a_test_that_leaves_a_process_fails_and_the_next_does_not(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, MODULE, "-p", "tests.real.conftest")
    assert "test_leaves_one PASSED" in said
    assert "test_leaves_one ERROR" in said
    assert "sleep 1000" in said
    assert "2 passed, 1 error" in said
