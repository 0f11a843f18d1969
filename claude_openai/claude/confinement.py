"""Whether Bash of Claude's own tools can be confined on this machine, which is tried once, when the server starts.

Asked for is only what `wall` needs: a bubblewrap that is there is not enough, since containers and some distributions
refuse user namespaces, or a /proc of one's own, to whoever asks.
"""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from claude_openai.claude.wall import NAMESPACES

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


def try_confinement(mode: str) -> Confinement:
    """Find out. Blocks for a few ms, 5 s at most.

    Args:
        mode: the setting: "auto", "require" or "off".
    """
    if mode == "off":
        return Confinement("", "--confine off")
    bwrap = shutil.which("bwrap")
    reason = "bubblewrap (bwrap) is not installed" if bwrap is None else _obstacle(bwrap)
    return Confinement("" if reason or bwrap is None else bwrap, reason, required=mode == "require")


def _obstacle(bwrap: str) -> str:
    # Of all programs, it is bubblewrap itself that is certain to be there.
    argv = [bwrap, *NAMESPACES, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", bwrap, "--version"]
    try:
        done = subprocess.run(  # noqa: S603 - constant, but for where bubblewrap is
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TRY_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{bwrap} did not end within {TRY_TIMEOUT_S:g} s"
    except OSError as error:
        return f"{bwrap} cannot be run: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = " ".join(done.stderr.split())[:200]
    return f"{bwrap} does not work here: {said or f'exit status {done.returncode}'}"
