"""Modules that are needed some time after the start, imported while the server already listens.

After that nothing is imported for the first time: `pip install` of another version under a running server must not mix
the two, and an import needs file descriptors, which may be short later. A test records what a server imports.
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
    "claude_openai.web.prometheus",
    "encodings.utf_8_sig",  # by `json`, for every body
)
IMPORT_RETRY_S: Final = 1.0


async def preload(modules: Sequence[str], log: Log) -> None:
    """Import these, and what all servers need later; returns when it is done.

    What the system lacks for it (descriptors, memory, threads) is waited for.

    Raises:
        ImportError: a module is missing: the installation is broken.
    """
    while True:
        try:
            await run_in_thread(_load, (*modules, *NEEDED_LATER))
            return
        except OSError as error:
            log.warning("server.preload_failed", error=described(error))
            await trio.sleep(IMPORT_RETRY_S)


def _load(modules: Sequence[str]) -> None:
    # The first check of a schema builds validators and compiles patterns, for which the first tools would wait.
    importlib.import_module("claude_openai.protocol.json_schema.validation").usable_schema(
        '{"type":"object"}', Budget()
    )
    for name in modules:
        importlib.import_module(name)
