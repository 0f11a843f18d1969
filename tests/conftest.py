"""What holds for all tests: how long an example takes is no reason to fail, nor is the shell that they are run from."""

import os
import signal

import pytest
from hypothesis import settings

# As many examples as fit into the five minutes that all tests may take; `HYPOTHESIS_PROFILE=thorough` tries more.
settings.register_profile("patient", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))

# Under nohup, or behind the & of a script, they would be ignored in the processes of the tests too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: a third of the time a test waits, for a process or for a clock."""
    return (os.cpu_count() or 1) + 1
