"""Rules for all tests.

The duration of an example does not fail a test, nor does the shell from which the tests are run. Only a condition with
a name (`conditions.py`) skips a test.
"""

import argparse
import gc
import os
import signal
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from tests.conditions import CONDITIONS, lacks

# The same examples in each run, so that a change fails for its own faults only; `HYPOTHESIS_PROFILE=thorough` looks for
# others, and tries more.
# Hypothesis would also draw constants that it finds in the modules which the process happens to have imported (6.131).
providers._get_local_constants = Constants
settings.register_profile("repeated", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeated"))

# Under nohup, or behind the & of a script, they would be ignored in the processes of the tests too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

FOLDER = Path(__file__).parent
SKIPPED_BY_NAME = pytest.StashKey[bool]()
RING = pytest.StashKey[str]()


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
    parser.addoption(
        "--part",
        metavar="K/N",
        type=_part,
        help="run the Kth of N parts of the cases of each parametrized test, or the first case if none is in it",
    )


def _part(text: str) -> tuple[int, int]:
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected K/N with K from 1 to N")
    return int(number), int(parts)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): conditions of tests/conditions.py without which it is skipped")
    if unknown := set(may_lack(config) or ()) - CONDITIONS.keys():
        raise pytest.UsageError(f"--may-lack: {', '.join(sorted(unknown))}; expected some of {', '.join(CONDITIONS)}")


@pytest.hookimpl(trylast=True)  # after `-m`
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part: tuple[int, int] | None = config.getoption("part")
    if part is None:
        return
    number, parts = part
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    # By a hash, because the order of the cases often has one of two values in each second case.
    kept = [
        item
        for group in cases.values()
        for item in [case for case in group if crc32(case.nodeid.encode()) % parts == number - 1] or group[:1]
    ]
    deselected = set(items).difference(kept)
    config.hook.pytest_deselected(items=list(deselected))
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exempt the modules and tests, which stay, from garbage collections, each of which would traverse them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def may_lack(config: pytest.Config) -> list[str] | None:
    given: str | None = config.getoption("may_lack")
    return given if given is None else [name for name in given.split(",") if name]


def measure_coverage_of_ring(item: pytest.Item) -> None:
    """Give what is covered the context of the test's ring, such as `pure`, so that each ring has a floor of its own."""
    plugin = item.config.pluginmanager.getplugin("_cov")
    controller = None if plugin is None else plugin.cov_controller
    if controller is None or not controller.started or not item.path.is_relative_to(FOLDER):
        return
    ring = item.path.relative_to(FOLDER).parts[0]
    if item.config.stash.get(RING, "") != ring:
        controller.cov.switch_context(ring)
        item.config.stash[RING] = ring


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    measure_coverage_of_ring(item)
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
