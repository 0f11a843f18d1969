"""A pytest of its own, for tests of what the suite itself promises."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["run_pytest"]

# Three of them take 16 s of a processor together, and over 120 s beside the other jobs of CI.
LIMIT_S = 300.0


def run_pytest(folder: Path, module: str, *options: str) -> str:
    """Run the tests of a module and return all that pytest says of them.

    Args:
        folder: where the module is written.
        module: its text.
        options: more options; the project's own configuration is left out.
    """
    path = folder / "test_module.py"
    path.write_text(module)
    plain = ("-c", "/dev/null", "--rootdir", str(folder), "--disable-plugin-autoload", "-p", "no:cacheprovider")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, "-v", *options, str(path)],
        cwd=Path(__file__).parents[1],
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return ran.stdout
