"""`fake_claude`: the whole server on a script, for the tests of a program that talks to it.

async with fake_claude("Hello", ToolUse("get", {"q": 1}), "done") as claude:
client = claude.openai()
...
assert claude.last.prompt == "Hi"
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from claude_openai.config import Config
from claude_openai.testing.answers import Answers, ScriptLike
from claude_openai.testing.cassette_answers import CassetteAnswers
from claude_openai.testing.clock import hold_clock
from claude_openai.testing.fake import API_KEY, FakeClaude
from claude_openai.testing.parts import opened_parts

__all__ = ["fake_claude"]

# Tests may run many requests at once; Config has a test of the queue.
DEFAULTS: Final[dict[str, Any]] = {"port": 0, "api_key": API_KEY, "max_concurrency": 100, "spares": 0}

NOT_TRIO: Final = (
    "fake_claude runs in trio; with asyncio, and without an event loop, use `with running_fake_claude(...) as claude:`"
)


@asynccontextmanager
async def fake_claude(
    *answers: ScriptLike, real: bool = False, strict: bool = True, cassette: str | Path | None = None, **config: Any
) -> AsyncIterator[FakeClaude]:
    """Serve the script while the block runs.

    Args:
        answers: one for each message of Claude, in order: a string, a `Reply`, an error, or a function from the
            request to one of these. A function that is the last answer answers all further requests.
        real: run the turns with real Claude Code, which must be installed, and answer it from the script. It finds
            nothing of the user's environment, login, proxies or HOME. It needs a real clock.
        strict: check that the script was followed. False also repeats the last answer for further requests, without
            an answer "ok".
        cassette: a recorded file to answer from, in place of `answers`; see `docs/cassettes.md`.
        config: fields of `Config`.

    Raises:
        TypeError: a value is not an answer; or there are both answers and a cassette.
        ConfigError: a setting is invalid, or the cassette cannot be read.
        RuntimeError: this is not a task of trio; or `real` under a mock clock.
        ClaudeMissing: `real`, and Claude Code is not installed.
        ScriptError: the program and the script do not agree. Not raised if the block raises, which then gets a note.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(NOT_TRIO)
    script = Answers((), strict=strict) if cassette is None else CassetteAnswers(cassette, strict=strict)
    script.add(answers)
    settings = Config(**{**DEFAULTS, **config})
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold_clock, _never)
            async with opened_parts(script, settings, real=real) as parts:
                claude = FakeClaude(script, parts, nursery)
                try:
                    yield claude
                except BaseException as error:  # noqa: BLE001 - raised again, outside of the nursery's group
                    raised = error
                await claude._close()
            nursery.cancel_scope.cancel(reason="the fake has ended")
    except BaseExceptionGroup as group:
        if raised is None:
            raise _only(group) from None
    if raised is not None:
        fault = [f"the fault was {script.fault}"] if script.fault else []
        for problem in [*fault, *script.problems]:
            raised.add_note(f"fake_claude: {problem}")
        raise raised
    script.check()


def _only(error: BaseException) -> BaseException:
    """Return the exception in nested groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _never() -> bool:
    return False
