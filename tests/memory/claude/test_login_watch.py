"""When the login is looked up, and what turns have to say about it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.claude.login_watch import LEAST_INTERVAL_S, RECHECK_S, START_DELAY_S, LoginWatch
from claude_openai.claude.process.login import UNKNOWN_LOGIN, Login, LoginState
from claude_openai.errors import ClaudeMissing
from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor

FOUND = Login(LoginState.FOUND, "the login of a Claude account")
MISSING = Login(LoginState.MISSING)


@dataclass
class Watched:
    """A watch whose lookups find `login`, or raise it; `times` are those of the lookups, since the start."""

    login: Login | Exception = FOUND
    takes_s: float = 0
    times: list[float] = field(default_factory=list)
    changes: list[Login] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=trio.current_time)
    watch: LoginWatch = field(init=False)

    async def look_up(self) -> Login:
        self.times.append(trio.current_time() - self.began)
        await trio.sleep(self.takes_s)
        if isinstance(self.login, Exception):
            raise self.login
        return self.login


@asynccontextmanager
async def watching(
    login: Login | Exception = FOUND, *, at_start: bool = True, takes_s: float = 0
) -> AsyncIterator[Watched]:
    watched = Watched(login, takes_s)
    log = Log(Level.DEBUG, lambda line: watched.records.append(json.loads(line)), Redactor())
    watched.watch = LoginWatch(watched.look_up, log, watched.changes.append if at_start else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watch.run)
        await wait_all_tasks_blocked()
        yield watched
        nursery.cancel_scope.cancel()


async def test_login_is_looked_up_once_after_the_start() -> None:
    async with watching() as watched:
        assert watched.watch.state is LoginState.UNCHECKED
        await trio.sleep(3600)
        assert (watched.times, watched.changes) == ([START_DELAY_S], [FOUND])


async def test_missing_login_is_a_warning_and_looked_up_again_until_it_is_there() -> None:
    async with watching(MISSING) as watched:
        await trio.sleep(START_DELAY_S + 2.5 * RECHECK_S)
        assert watched.watch.state is LoginState.MISSING
        assert len(watched.times) in (2, 3)
        watched.login = FOUND
        await trio.sleep(2 * RECHECK_S)
        looked = len(watched.times)
        await trio.sleep(3600)
        assert (watched.watch.state, watched.changes) == (LoginState.FOUND, [MISSING, FOUND])
        assert len(watched.times) == looked
        warnings = [record["event"] for record in watched.records if record["level"] == "warning"]
        assert warnings == ["claude.login_missing"]


async def test_refused_turn_has_the_login_looked_up_at_most_every_few_seconds() -> None:
    async with watching(at_start=False) as watched:
        await trio.sleep(3600)
        assert watched.times == []
        watched.login = MISSING
        for _ in range(10):
            watched.watch.note_turn(is_refused=True)
            await trio.sleep(0.1)
        assert watched.watch.state is LoginState.MISSING
        await trio.sleep(LEAST_INTERVAL_S)
        assert watched.times == [3600, 3600 + LEAST_INTERVAL_S]


async def test_answered_turn_proves_the_login_and_spares_the_lookup() -> None:
    async with watching(MISSING) as watched:
        watched.watch.note_turn(is_refused=False)
        await trio.sleep(3600)
        assert (watched.times, watched.watch.state) == ([], LoginState.FOUND)


async def test_turn_that_is_answered_during_a_lookup_wins() -> None:
    async with watching(MISSING, takes_s=2) as watched:
        await trio.sleep(START_DELAY_S + 1)
        watched.watch.note_turn(is_refused=False)
        await trio.sleep(3600)
        assert watched.watch.state is LoginState.FOUND
        assert [login.state for login in watched.changes] == [LoginState.FOUND]


async def test_answered_turn_ends_a_missing_login_at_once() -> None:
    async with watching(MISSING) as watched:
        await trio.sleep(START_DELAY_S + 1)
        watched.watch.note_turn(is_refused=False)
        assert [login.state for login in watched.changes] == [LoginState.MISSING, LoginState.FOUND]


@pytest.mark.parametrize("outcome", [UNKNOWN_LOGIN, ClaudeMissing("not installed"), OSError("no processes")])
async def test_lookup_without_result_is_no_alarm(outcome: Login | Exception) -> None:
    async with watching(outcome) as watched:
        await trio.sleep(3600)
        assert (watched.watch.state, watched.changes) == (LoginState.UNKNOWN, [UNKNOWN_LOGIN])
        assert [record["level"] for record in watched.records] == ["debug"]
        assert len(watched.times) == 1
