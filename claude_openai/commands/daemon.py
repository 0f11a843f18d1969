"""The server in the background, as `start` starts it: nobody at the terminal, the files a must.

It is a command so that the process list tells what it is, and so that it cannot start another one whatever the
variables say. Nobody else calls it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.record import instance_folder
from claude_openai.commands.serve import serve_here
from claude_openai.config import config_from

__all__ = ["run"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal says otherwise."""
    config = replace(config_from(argv, environ), background=True)
    with claiming(instance_folder(environ)) as claim:
        serve_here(config, argv, environ, claim)
    return 0
