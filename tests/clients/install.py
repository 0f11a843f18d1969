"""The clients' own environments, made once and kept: `table` says what is in them.

Each is a folder named after the client and a hash of all that it is made from, so that a change of versions makes a new
one. Knows pip and npm; runs no client.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import trio

from tests.clients.table import PIP, Client

__all__ = ["InstallFailed", "environment_of", "reason_to_skip", "tools"]

DONE: Final = "complete"


class InstallFailed(Exception):
    """The environment of a client could not be made; the text is the output of pip or npm."""


def reason_to_skip(client: Client) -> str | None:
    """Why this machine cannot have the client, or None."""
    if missing := [program for program in ("node", "npm") if client.npm and shutil.which(program) is None]:
        return f"{missing[0]} is not on this machine"
    if client.python_below and sys.version_info >= tuple(map(int, client.python_below.split("."))):
        return f"it takes no Python from {client.python_below} on"
    return None


async def tools(cache: Path) -> Path:
    """Return the pip that installs all environments. Python's own may be slow, and is in none of them.

    Raises:
        InstallFailed: it could not be installed.
    """
    return await _made(cache, "pip", [f"pip=={PIP}"], _install_pip)


async def environment_of(client: Client, cache: Path, pip: Path) -> Path:
    """The folder of the client's environment, which has a `bin`; it is made if it is not there.

    Args:
        pip: what `tools` gave.

    Raises:
        InstallFailed: a package cannot be had.
    """

    async def install(folder: Path) -> None:
        if client.npm:
            await _install_npm(folder, client)
        else:
            await _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
            # The bytecode is compiled when it is needed, which is much less than all.
            await _run(str(pip / "bin" / "pip"), "--python", str(folder), "install", "--no-compile", *client.pip)

    return await _made(cache, client.name, [*client.pip, *client.npm], install)


async def _made(cache: Path, name: str, pins: list[str], install: Any) -> Path:
    key = hashlib.sha256(json.dumps([sys.version, sys.executable, str(cache), pins]).encode()).hexdigest()[:12]
    folder = cache / f"{name}-{key}"
    if not (folder / DONE).exists():
        # What an interrupted run left. An environment cannot be made elsewhere and moved: it holds its own path.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        await install(folder)
        (folder / DONE).touch()
    return folder


async def _install_pip(folder: Path) -> None:
    await _run(sys.executable, "-m", "venv", str(folder))
    await _run(str(folder / "bin" / "pip"), "install", f"pip=={PIP}")


async def _install_npm(folder: Path, client: Client) -> None:
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    await _run("npm", "install", "--prefix", str(folder), "--ignore-scripts", *quiet, *client.npm)
    (folder / "bin").symlink_to("node_modules/.bin")
    if client.postinstall:
        script = folder / "node_modules" / client.postinstall
        await _run("node", str(script), cwd=script.parent)


async def _run(*command: str, cwd: Path | None = None) -> None:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}
    done = await trio.run_process(
        command,
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        check=False,
    )
    if done.returncode:
        raise InstallFailed(f"{' '.join(command)}\n{done.stdout.decode(errors='replace')}")
