"""Only a condition with a name skips a test, and `--may-lack` says which may."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conditions import needs

MODULE = """
import pytest
from tests.conditions import CONDITIONS, needs

CONDITIONS["codex"] = (lambda: False, "it was taken away")
CONDITIONS["curl"] = (lambda: True, "")

@needs("codex")
def test_lacks(): raise AssertionError

@needs("curl")
def test_has(): pass

@pytest.mark.skipif(True, reason="no name")
def test_marked(): pass

def test_in_the_middle(): pytest.skip("no name")

@pytest.mark.xfail
def test_xfail(): raise AssertionError
"""


def run(folder: Path, *options: str) -> str:
    """All that a pytest of its own says of MODULE."""
    module = folder / "test_module.py"
    module.write_text(MODULE)
    plain = ("-c", "/dev/null", "--rootdir", str(folder), "--disable-plugin-autoload", "-p", "no:cacheprovider")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, "-v", "-p", "tests.conftest", *options, str(module)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout


@pytest.mark.parametrize(
    ("options", "lacks"),
    [((), "SKIPPED"), (("--may-lack", "codex,curl"), "SKIPPED"), (("--may-lack", "curl"), "ERROR")],
)
def test_a_condition_skips_where_it_may_and_nothing_else_does(
    tmp_path: Path, options: tuple[str, ...], lacks: str
) -> None:
    output = run(tmp_path, *options).partition("short test summary")[0]
    assert dict(re.findall(r"::test_(\w+) ([A-Z]+)", output)) == {
        "lacks": lacks,
        "has": "PASSED",
        "marked": "ERROR",
        "in_the_middle": "FAILED",
        "xfail": "XFAIL",
    }


def test_a_condition_that_is_not_known_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        needs("a miracle")
    assert "--may-lack: a miracle; expected some of" in run(tmp_path, "--may-lack", "a miracle")
