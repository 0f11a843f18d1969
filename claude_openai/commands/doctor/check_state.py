"""The check of the store that replicas share."""

import trio

from claude_openai.commands.doctor.checks import Finding
from claude_openai.config import Config
from claude_openai.errors import StartError
from claude_openai.logs.log import NULL_LOG
from claude_openai.state.opening import open_state
from claude_openai.state.store import StateError, StateStore

__all__ = ["state_checks"]


def state_checks(config: Config) -> list[Finding]:
    """Check the store of `config.state_url`, if there is one, by reading from it."""
    try:
        store = open_state(config, NULL_LOG)
    except StartError as error:
        return [Finding("state", "FAIL", error.problem, error.hint)]
    if store is None:
        return []
    problem = trio.run(_problem, store)
    if problem:
        mend = "start it, or correct --state-url or --state-password-file; until then a server uses its memory only"
        return [Finding("state", "warning", f"{config.state_url} cannot be used: {problem}", mend)]
    return [Finding("state", "ok", f"{config.state_url} can be used")]


async def _problem(store: StateStore) -> str:
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        try:
            await store.get(["tried"], 1.0)
        except StateError as error:
            return error.reason
        finally:
            nursery.cancel_scope.cancel()
    return ""
