"""Compare a running server with the installed package: `pip install` of another version does not replace it.

The metadata of packages is not read: importing `importlib.metadata` takes longer than a whole `status`.
"""

from pathlib import Path
from typing import Final

import claude_openai
from claude_openai.commands.instance.record import Instance

__all__ = ["RESTART_HINT", "outdated"]

RESTART_HINT: Final = "run `claude-openai restart`"


def outdated(instance: Instance, package: Path = Path(claude_openai.__file__).parent) -> str:
    """Return how a server differs from the installed package, "" if it does not. `RESTART_HINT` is how to fix it.

    Args:
        instance: the server.
        package: folder of the installed package, by default that of this process.
    """
    if instance.version != claude_openai.__version__:
        return f"the server runs {instance.version}, but {claude_openai.__version__} is installed"
    if _installed_at(package) > instance.started_at:
        return f"{instance.version} was installed again after the server had started"
    return ""


def _installed_at(package: Path) -> float:
    """Return when an installer last wrote the package's RECORD, in seconds since 1970; 0 for a checkout."""
    lists = package.parent.glob(f"{package.name}-*.dist-info/RECORD")
    return max((path.stat().st_mtime for path in lists), default=0.0)
