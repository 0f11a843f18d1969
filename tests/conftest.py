"""Rules for all tests.

The duration of an example does not fail a test, nor does the shell from which the tests are run. Only a condition with
a name (`conditions.py`) skips a test.
"""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.conditions import CONDITIONS, lacks

# As many examples as fit into the five minutes that all tests may take; `HYPOTHESIS_PROFILE=thorough` tries more.
settings.register_profile("patient", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))

# Under nohup, or behind the & of a script, they would be ignored in the processes of the tests too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SKIPPED_BY_NAME = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: a third of the time a test waits, for a process or for a clock."""
    return (os.cpu_count() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--may-lack",
        metavar="NAME,...",
        help="fail what would be skipped because this machine lacks anything but these, of: " + ", ".join(CONDITIONS),
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): conditions of tests/conditions.py without which it is skipped")
    if unknown := set(may_lack(config) or ()) - CONDITIONS.keys():
        raise pytest.UsageError(f"--may-lack: {', '.join(sorted(unknown))}; expected some of {', '.join(CONDITIONS)}")


def may_lack(config: pytest.Config) -> list[str] | None:
    given: str | None = config.getoption("may_lack")
    return given if given is None else [name for name in given.split(",") if name]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    allowed = may_lack(item.config)
    for name in (name for mark in item.iter_markers("needs") for name in mark.args):
        if otherwise := lacks(name):
            if allowed is not None and name not in allowed:
                pytest.fail(f"{name} is not on this machine: {otherwise}", pytrace=False)
            item.stash[SKIPPED_BY_NAME] = True
            pytest.skip(f"{name} is not on this machine: {otherwise}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and SKIPPED_BY_NAME not in item.stash:
        report.outcome = "failed"
        report.longrepr = f"skipped, but not by needs() of tests/conditions.py: {report.longrepr}"
    return report
