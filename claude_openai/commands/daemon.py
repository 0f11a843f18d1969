"""The server in the background: it has no terminal, and does not run without its instance files.

It is a command so that the process list shows what it is, and so that no variable can make it start another server in
the background. Only `start` calls it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.record import instance_folder
from claude_openai.commands.serve import serve_here
from claude_openai.config import config_from

__all__ = ["run"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal stops the server."""
    config = replace(config_from(argv, environ), background=True)
    with claiming(instance_folder(environ)) as claim:
        serve_here(config, argv, environ, claim)
    return 0
