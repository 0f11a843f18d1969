"""What a machine may lack. Each condition has a name; a test that depends on one carries `needs(name)`.

Nothing else may skip a test (`conftest.py` sees to it), so that what was not tested can be listed, and limited with
`--may-lack`.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import pytest

__all__ = ["CODEX", "CONDITIONS", "OPENCODE", "SCHEMATHESIS", "SCRIPT", "VALIDATOR", "bundled_claude", "lacks", "needs"]

CODEX: Final = os.environ.get("CODEX") or shutil.which("codex")
OPENCODE: Final = os.environ.get("OPENCODE") or shutil.which("opencode")
SCHEMATHESIS: Final = os.environ.get("SCHEMATHESIS") or shutil.which("st")
VALIDATOR: Final = shutil.which("openapi-spec-validator", path=str(Path(SCHEMATHESIS or "/nowhere/st").parent))
SCRIPT: Final = Path(sys.executable).parent / "claude-openai"


def bundled_claude() -> Path | None:
    """The `claude` that comes with claude-agent-sdk, which is found without the import of it."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "_bundled" / "claude"
    return path if path.exists() else None


def _mounts() -> bool:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([mount, "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False).returncode:
            return False
        subprocess.run([umount, folder], check=True)
    return True


# What is there, and how to get it if it is not.
CONDITIONS: Final[dict[str, tuple[Callable[[], bool], str]]] = {
    "claude": (lambda: bundled_claude() is not None, "claude-agent-sdk has no bundled claude for this platform"),
    "codex": (lambda: CODEX is not None, "npm install @openai/codex, and name it in CODEX or PATH"),
    "console script": (SCRIPT.exists, f"pip install puts it at {SCRIPT}"),
    "curl": (lambda: shutil.which("curl") is not None, "install curl"),
    "/dev/full": (Path("/dev/full").exists, "only Linux has a disk that is always full"),
    "mount": (_mounts, "only root can mount a tmpfs, on Linux, and not in every container"),
    "openapi-spec-validator": (lambda: VALIDATOR is not None, "pip install it beside schemathesis"),
    "opencode": (lambda: OPENCODE is not None, "npm install opencode-ai, and name it in OPENCODE or PATH"),
    "/proc": (Path("/proc/self/environ").exists, "processes are counted through it, on Linux"),
    "/bin/ps": (Path("/bin/ps").exists, "install procps"),
    "root": (lambda: os.geteuid() == 0, "only root can make a file that is another user's"),
    "schemathesis": (
        lambda: SCHEMATHESIS is not None,
        "pip install it, and name st in SCHEMATHESIS or PATH",
    ),
    "setsid": (lambda: shutil.which("setsid") is not None, "install util-linux"),
    "systemd-analyze": (lambda: shutil.which("systemd-analyze") is not None, "install systemd"),
}


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test where one of these conditions does not hold.

    Raises:
        KeyError: there is no such condition.
    """
    for name in names:
        CONDITIONS[name]
    return pytest.mark.needs(*names)


@cache
def lacks(name: str) -> str:
    """Why the condition does not hold here; empty where it holds."""
    holds, otherwise = CONDITIONS[name]
    return "" if holds() else otherwise
