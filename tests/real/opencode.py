"""OpenCode, run against a server."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import trio

from tests.conditions import OPENCODE
from tests.real.harness import Served

__all__ = ["opencode", "ways"]


async def opencode(project: Path, home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    env = {
        **(env or {}),
        "PATH": os.environ["PATH"],
        "TERM": "dumb",
        "HOME": str(home),
        **{f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "DATA", "CACHE", "STATE")},
        **{
            f"OPENCODE_DISABLE_{what}": "1"
            for what in ("AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD")
        },
    }
    done = await trio.run_process(
        [str(OPENCODE), "run", "--auto", "--format", "json", *arguments],
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        env=env,
        cwd=project,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    output: str = done.stdout.decode()
    return output


async def ways(served: Served) -> list[str]:
    return [record["conversation"] for record in await served.logged("run.answering")]
