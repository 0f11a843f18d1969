"""Real Claude Code behind a fake: its requests are answered from the script, and it finds nothing of the user's.

Claude Code gets the stand-in of Claude's API as its only upstream, a HOME and a configuration folder of its own, and of
the environment only what a program needs to run.
"""

import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from claude_openai.claude.assembly import claude_backend
from claude_openai.claude.backend import Backend
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.claude.process.launcher import Launcher
from claude_openai.config import Config
from claude_openai.logs.log import Log
from claude_openai.preload import preload
from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import Answer, HttpError
from claude_openai.standin.server import MessagesApi
from claude_openai.testing.answers import Answers, ScriptFailed
from claude_openai.testing.fitness import next_answer
from claude_openai.testing.recorder import Exchange

__all__ = ["real_backend"]

# What a program needs to be found, loaded and localized.
_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "NIX_LD", "NIX_LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
# Claude Code reports these as retries, which the server takes as the end of the turn. It would retry all others.
_ANNOUNCED: Final = (401, 429)


@asynccontextmanager
async def real_backend(
    answers: Answers, running: list[Exchange], config: Config, models: KnownModels, log: Log
) -> AsyncIterator[Backend]:
    """Yield a backend with real Claude Code, on the script.

    Args:
        answers: the script.
        running: the exchanges whose turns are running.
        config: the settings.
        models: the models of the fake.
        log: the log of the fake.

    Raises:
        StartError: the system lacks files, processes or disk space.
        ClaudeMissing: Claude Code is not installed.
    """
    launchers: list[Launcher] = []

    def reply(request: RecordedRequest) -> Answer:
        exchange = _exchange_of(request, running)
        if exchange is None or exchange.turn is None:
            return _failure(f"Claude Code asked for an answer without a turn: {request!r}")
        try:
            return _without_retries(next_answer(answers, exchange.request, exchange.turn))
        except ScriptFailed as error:
            return _failure(error.message)

    def kill(request: RecordedRequest) -> None:
        for launcher in launchers:
            launcher.kill(request.headers.get("x-claude-code-session-id", ""))

    with tempfile.TemporaryDirectory(prefix="fake-claude-", ignore_cleanup_errors=True) as folder:
        async with trio.open_nursery() as nursery:
            api = MessagesApi(reply, on_death=kill)
            await nursery.start(api.serve)
            home = Path(folder)
            settings = replace(
                config, extra_env={**stand_in_environment(api.base_url, home / "config"), **config.extra_env}
            )
            environ = {**_inherited(os.environ), "HOME": folder}
            async with claude_backend(settings, models, log, environ=environ, on_launcher=launchers.append) as backend:
                launchers[0].program()
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(_run, backend, log)
                    yield backend
                    tasks.cancel_scope.cancel(reason="the fake has ended")
            nursery.cancel_scope.cancel(reason="the fake has ended")


async def _run(backend: Backend, log: Log) -> None:
    await preload(backend.modules, log)
    await backend.run()


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in _INHERITED if name in environ}


def _exchange_of(request: RecordedRequest, running: list[Exchange]) -> Exchange | None:
    """Return the exchange whose turn sent the request: the one whose prompt it has, if several are running."""
    asked = request.raw.decode(errors="replace")
    fitting = [each for each in running if each.request.prompt and _quoted(each.request.prompt) in asked]
    return next(iter([*fitting, *running]), None)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _without_retries(answer: Answer) -> Answer:
    if not isinstance(answer, HttpError) or answer.status in _ANNOUNCED:
        return answer
    return answer.with_headers(x_should_retry="false")


def _failure(message: str) -> HttpError:
    return HttpError(500, "api_error", message, {"x-should-retry": "false"})
