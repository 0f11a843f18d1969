"""What holds for all tests: how long an example takes is never a reason to fail, since machines may be busy."""

import os

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: a third of the time a test waits, for a process or for a clock."""
    return (os.cpu_count() or 1) + 1
