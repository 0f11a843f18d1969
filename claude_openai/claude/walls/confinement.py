"""Finds out, once when the server starts, whether Bash can be confined on this machine.

An installed bubblewrap is not enough: containers and some distributions refuse user namespaces, or a new /proc. So the
check runs a program that exits at once in the view of a turn.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from claude_openai.bounded_run import run_bounded
from claude_openai.claude.walls.bubblewrap import View, enclosed

__all__ = ["Confinement", "try_confinement"]

TRY_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Confinement:
    """Whether turns with Bash are confined.

    Attributes:
        bwrap: the full path of bubblewrap; "" if turns are not confined.
        reason: why turns are not confined; "" if they are.
        required: whether turns that cannot be confined are refused.
    """

    bwrap: str
    reason: str
    required: bool = False

    @property
    def status(self) -> dict[str, Any]:
        """Return the fields for `/health`."""
        return {"confined": True} if self.bwrap else {"confined": False, "confined_reason": self.reason}


def try_confinement(
    mode: str, environ: Mapping[str, str], folder: Path | None = None, timeout_s: float = TRY_TIMEOUT_S
) -> Confinement:
    """Check whether bubblewrap works. Blocks for a few ms, `timeout_s` at most.

    Args:
        mode: the setting: "auto", "require" or "off".
        environ: an environment like that of a turn.
        folder: for temporary files; by default the system's.
        timeout_s: time limit in seconds.
    """
    if mode == "off":
        return Confinement("", "--confine off")
    bwrap = shutil.which("bwrap", path=environ.get("PATH"))
    reason = "bubblewrap (bwrap) is not installed" if bwrap is None else _obstacle(bwrap, environ, folder, timeout_s)
    return Confinement("" if reason or bwrap is None else bwrap, reason, required=mode == "require")


def _obstacle(bwrap: str, environ: Mapping[str, str], folder: Path | None, timeout_s: float) -> str:
    try:
        with tempfile.TemporaryDirectory(prefix="claude-openai-", dir=folder) as name:
            return _obstacle_in(Path(name), bwrap, environ, timeout_s)
    except subprocess.TimeoutExpired:
        return f"{bwrap} did not end within {timeout_s:g} s"
    except OSError as error:
        return f"{bwrap} cannot be tried: {error.strerror}"


def _obstacle_in(folder: Path, bwrap: str, environ: Mapping[str, str], timeout_s: float) -> str:
    cwd = folder / "cwd"
    cwd.mkdir()
    # Run bubblewrap inside itself: it is the one program that certainly exists.
    view = View(program=Path(bwrap), cwd=cwd, writable=[], readable=[], temporary=folder, hidden=[])
    done = run_bounded(enclosed(bwrap, [bwrap, "--version"], environ, view), environ, timeout_s, cwd)
    if done.returncode == 0:
        return ""
    stderr = " ".join(done.stderr.split())[:200]
    return f"{bwrap} does not work here: {stderr or f'exit status {done.returncode}'}"
