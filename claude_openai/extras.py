"""How to install the optional extras of this package."""

import sys
from importlib.util import find_spec

__all__ = ["install_command"]


def install_command(extra: str) -> str:
    """Return the command that installs an extra into this environment. Those of uv have no pip."""
    pip = "pip install" if find_spec("pip") is None else f"{sys.executable} -m pip install"
    python = f" --python {sys.executable}" if find_spec("pip") is None else ""
    return f"{'uv ' if python else ''}{pip}{python} 'claude-openai[{extra}]'"
