"""Imports modules that are not needed to listen, while the server already listens.

Afterwards a server imports nothing for the first time (tested): `pip install` of another version under a running server
must not mix the versions, and an import needs file descriptors, which may be exhausted later.
"""

import importlib
from collections.abc import Sequence
from typing import Final

import trio

from claude_openai.logs.log import Log
from claude_openai.protocol.limits.budget import Budget
from claude_openai.shortages import described
from claude_openai.threads import run_in_thread

__all__ = ["NEEDED_LATER", "preload"]

NEEDED_LATER: Final = (
    "claude_openai.protocol.json_schema.claude_dialect",
    "claude_openai.protocol.json_schema.references",
    "claude_openai.web.dashboard",
    "claude_openai.web.prometheus",
    "encodings.utf_8_sig",  # imported by `json`, for every body
)
IMPORT_RETRY_S: Final = 1.0


async def preload(modules: Sequence[str], log: Log) -> None:
    """Import the modules, and `NEEDED_LATER`.

    Retry every second while the system lacks descriptors, memory or threads.

    Raises:
        ImportError: a module is missing, so the installation is broken.
    """
    while True:
        try:
            # Abandoned, so that a server that is stopped in its first second does not wait for the imports.
            await run_in_thread(_load, (*modules, *NEEDED_LATER), abandon_on_cancel=True)
            return
        except OSError as error:
            log.warning("server.preload_failed", error=described(error))
            await trio.sleep(IMPORT_RETRY_S)


def _load(modules: Sequence[str]) -> None:
    # The first validation of a schema builds validators and compiles patterns, which would delay the first tools.
    importlib.import_module("claude_openai.protocol.json_schema.validation").usable_schema(
        '{"type":"object"}', Budget()
    )
    for name in modules:
        importlib.import_module(name)
