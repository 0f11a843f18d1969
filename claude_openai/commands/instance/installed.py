"""Whether a running server is what is installed: `pip install` of another version does not touch it.

Reads no metadata of packages: `importlib.metadata` takes longer than a whole `status`.
"""

from pathlib import Path
from typing import Final

import claude_openai
from claude_openai.commands.instance.record import Instance

__all__ = ["RESTART_HINT", "outdated"]

RESTART_HINT: Final = "run `claude-openai restart`"


def outdated(instance: Instance, package: Path = Path(claude_openai.__file__).parent) -> str:
    """How a server differs from what is installed, for which `RESTART_HINT` is the remedy; "" if it does not.

    Args:
        instance: the server.
        package: the folder of the installed package, which is this command's own.
    """
    if instance.version != claude_openai.__version__:
        return f"the server runs {instance.version}, but {claude_openai.__version__} is installed"
    if _installed_at(package) > instance.started_at:
        return f"{instance.version} was installed again after the server had started"
    return ""


def _installed_at(package: Path) -> float:
    """When an installer last wrote its list of the package's files, in seconds since 1970; 0 for a checkout."""
    lists = package.parent.glob(f"{package.name}-*.dist-info/RECORD")
    return max((path.stat().st_mtime for path in lists), default=0.0)
