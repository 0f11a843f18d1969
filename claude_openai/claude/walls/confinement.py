"""Whether Bash of Claude's own tools can be confined on this machine, which is tried once, when the server starts.

A bubblewrap that is there is not enough: containers and some distributions refuse user namespaces, or a /proc of one's
own. So what is tried is the view of a turn, with a program that ends at once.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_openai.claude.walls.bubblewrap import View, enclosed

__all__ = ["Confinement", "try_confinement"]

TRY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Confinement:
    """How the turns that have Bash are run.

    Attributes:
        bwrap: bubblewrap, by its full path; "" where they are not confined.
        reason: why not; "" if they are.
        required: they are refused where they cannot be confined.
    """

    bwrap: str
    reason: str
    required: bool = False

    @property
    def status(self) -> dict[str, Any]:
        """What `/health` tells."""
        return {"confined": True} if self.bwrap else {"confined": False, "confined_reason": self.reason}


def try_confinement(mode: str, environ: Mapping[str, str], folder: Path | None = None) -> Confinement:
    """Find out. Blocks for a few ms, 5 s at most.

    Args:
        mode: the setting: "auto", "require" or "off".
        environ: of a turn, more or less.
        folder: for temporary files; by default the system's.
    """
    if mode == "off":
        return Confinement("", "--confine off")
    bwrap = shutil.which("bwrap", path=environ.get("PATH"))
    reason = "bubblewrap (bwrap) is not installed" if bwrap is None else _obstacle(bwrap, environ, folder)
    return Confinement("" if reason or bwrap is None else bwrap, reason, required=mode == "require")


def _obstacle(bwrap: str, environ: Mapping[str, str], folder: Path | None) -> str:
    try:
        with tempfile.TemporaryDirectory(prefix="claude-openai-", dir=folder) as name:
            return _obstacle_in(Path(name), bwrap, environ)
    except subprocess.TimeoutExpired:
        return f"{bwrap} did not end within {TRY_TIMEOUT_S:g} s"
    except OSError as error:
        return f"{bwrap} cannot be tried: {error.strerror}"


def _obstacle_in(folder: Path, bwrap: str, environ: Mapping[str, str]) -> str:
    cwd = folder / "cwd"
    cwd.mkdir()
    # Of all programs, it is bubblewrap itself that is certain to be there.
    view = View(program=Path(bwrap), cwd=cwd, writable=[], readable=[], temporary=folder, hidden=[])
    done = subprocess.run(  # noqa: S603 - constant, but for where bubblewrap is
        enclosed(bwrap, [bwrap, "--version"], environ, view),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=TRY_TIMEOUT_S,
        check=False,
    )
    if done.returncode == 0:
        return ""
    stderr = " ".join(done.stderr.split())[:200]
    return f"{bwrap} does not work here: {stderr or f'exit status {done.returncode}'}"
