"""Knows whether Claude Code has a login, without a paid turn.

`claude auth status` takes 0.3 s of a processor. It runs once after the start, after a turn that Claude refused, and
every 30 s while there is no login, because the user may log in meanwhile. An answered turn proves a login.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from claude_openai.claude.process.login import UNCHECKED_LOGIN, UNKNOWN_LOGIN, Login, LoginState
from claude_openai.errors import ClaudeMissing
from claude_openai.logs.log import Log

__all__ = ["LoginWatch"]

# Lets the first spare process start, and the first turn.
START_DELAY_S: Final = 1.0
# While there is no login.
RECHECK_S: Final = 30.0
# Between two lookups, however many turns are refused.
LEAST_INTERVAL_S: Final = 5.0


class LoginWatch:
    """Looks the login up; `run` does it.

    Args:
        look_up: runs `claude auth status`; raises ClaudeMissing or OSError.
        log: records a missing login.
        on_change: called with the login when its state has changed, first after the start; None to look it up only
            after a refused turn.
    """

    def __init__(
        self, look_up: Callable[[], Awaitable[Login]], log: Log, on_change: Callable[[Login], None] | None = None
    ) -> None:
        self._look_up = look_up
        self._log = log
        self._on_change = on_change
        self._login = UNCHECKED_LOGIN
        self._refused = trio.Event()
        self._answered = 0

    @property
    def state(self) -> LoginState:
        return self._login.state

    def note_turn(self, *, is_refused: bool) -> None:
        """Note that Claude refused the login of a turn, or began to answer one."""
        if is_refused:
            self._refused.set()
            return
        self._answered += 1
        if self.state is not LoginState.FOUND:
            self._change(Login(LoginState.FOUND, "a turn was answered"))

    async def run(self) -> None:
        """Look the login up when it is needed, until cancelled."""
        if self._on_change is not None:
            await trio.sleep(START_DELAY_S)
            if not self._answered:
                await self._look()
        while True:
            with trio.move_on_after(RECHECK_S if self.state is LoginState.MISSING else math.inf):
                await self._refused.wait()
            self._refused = trio.Event()
            await self._look()
            await trio.sleep(LEAST_INTERVAL_S)

    async def _look(self) -> None:
        answered, found = self._answered, UNKNOWN_LOGIN
        try:
            found = await self._look_up()
        except* (ClaudeMissing, OSError):
            pass  # turns and `/ready` report it
        if answered == self._answered:  # otherwise a turn has proved the login meanwhile
            self._change(found)

    def _change(self, login: Login) -> None:
        last, self._login = self._login, login
        if login.state is last.state:
            return
        self._log.debug("claude.login", state=login.state.value, method=login.method)
        if login.state is LoginState.MISSING:
            self._log.warning("claude.login_missing", message="Claude Code is not logged in: turns will be refused.")
        if self._on_change is not None:
            self._on_change(login)
