"""The check of the store that replicas share: it connects to it, and stores a value for a second."""

import trio

from claude_openai.commands.doctor.checks import Finding
from claude_openai.config import Config
from claude_openai.errors import StartError
from claude_openai.logs.log import NULL_LOG
from claude_openai.state.opening import shared_store

__all__ = ["state_checks"]


def state_checks(config: Config) -> list[Finding]:
    """Check the store of `config.state_url`, if there is one."""
    try:
        store = shared_store(config, NULL_LOG)
    except StartError as error:
        return [Finding("state", "FAIL", error.problem, error.hint)]
    if store is None:
        return []

    async def try_it() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.cancel_scope.cancel()

    trio.run(try_it)
    if store.problem:
        mend = "start it, or correct --state-url or --state-password-file; until then a server uses its memory only"
        return [Finding("state", "warning", f"{config.state_url} cannot be used: {store.problem}", mend)]
    return [Finding("state", "ok", f"{config.state_url} can be used")]
