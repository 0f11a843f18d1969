"""What a fake needs beside its script: the log, the models, and the backend, played or real."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio
from trio.testing import MockClock

from claude_openai.claude.backend import Backend
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.config import Config
from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.testing.answers import Answers
from claude_openai.testing.fake_backend import FakeBackend
from claude_openai.testing.recorder import Exchange, ObservedBackend

__all__ = ["Parts", "opened_parts"]

NO_MOCK_CLOCK: Final = (
    "real=True needs a real clock: the process of Claude Code takes real time, in which a mock clock would let every "
    "time limit pass; leave out the mock clock (autojump_clock), or real=True"
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts.

    Attributes:
        config: the settings.
        log: the server's log.
        records: what was logged.
        models: the catalog.
        backend: runs the turns.
    """

    config: Config
    log: Log
    records: list[dict[str, Any]]
    models: KnownModels
    backend: Backend


@asynccontextmanager
async def opened_parts(answers: Answers, config: Config, *, real: bool) -> AsyncIterator[Parts]:
    """Yield the parts; when the block ends, no process is left.

    Args:
        answers: the script.
        config: the settings.
        real: whether real Claude Code runs the turns.

    Raises:
        RuntimeError: `real` under a mock clock.
    """
    records: list[dict[str, Any]] = []
    secrets = [] if config.api_key is None else [config.api_key]
    log = Log(
        Level[config.effective_log_level.upper()], lambda line: records.append(json.loads(line)), Redactor(secrets)
    )
    models = KnownModels(config.catalog(), log)
    running: list[Exchange] = []
    if not real:
        yield Parts(config, log, records, models, ObservedBackend(FakeBackend(answers), running))
        return
    if isinstance(trio.lowlevel.current_clock(), MockClock):
        raise RuntimeError(NO_MOCK_CLOCK)
    # Imported here: only this needs what starts processes.
    from claude_openai.testing.real import real_backend

    async with real_backend(answers, running, config, models, log) as backend:
        yield Parts(config, log, records, models, ObservedBackend(backend, running))
