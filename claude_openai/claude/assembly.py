"""Builds a backend with everything it needs: the private folder, the guardian, the launcher."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from claude_openai.claude.backend import Backend
from claude_openai.claude.cli import CliBackend
from claude_openai.claude.leftovers.ledger import PRIVATE_FOLDER, recover
from claude_openai.claude.login_watch import LoginWatch
from claude_openai.claude.priming import Primer
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.claude.process.environment import named_environment
from claude_openai.claude.process.guardian import guarding
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.claude.process.launcher import Launcher
from claude_openai.claude.process.login import Login
from claude_openai.claude.process.program import find_claude
from claude_openai.claude.sdk.backend import SdkBackend
from claude_openai.claude.sdk.settings import SdkSettings
from claude_openai.claude.walls.confinement import try_confinement
from claude_openai.claude.walls.tool_walls import ToolWalls
from claude_openai.config import Config
from claude_openai.errors import StartError
from claude_openai.logs.log import Log
from claude_openai.shortages import described, shortage_hint
from claude_openai.standin.demo import demo_reply
from claude_openai.standin.server import MessagesApi
from claude_openai.threads import NoThreadError, needing_a_thread, run_in_thread

__all__ = ["claude_backend", "ended_in_a_thread"]

T = TypeVar("T")

# How long the start waits for the cleanup after killed servers. The cleanup continues in its thread.
RECOVER_WAIT_S = 2.0


def _ignore(_launcher: Launcher) -> None:
    pass


@asynccontextmanager
async def claude_backend(
    config: Config,
    models: KnownModels,
    log: Log,
    *,
    environ: Mapping[str, str] = os.environ,
    on_launcher: Callable[[Launcher], None] = _ignore,
    on_outdated: Callable[[str], None] | None = None,
    on_login: Callable[[Login], None] | None = None,
) -> AsyncIterator[Backend]:
    """Yield the backend that `config.backend` names; when the block ends, nothing of it is left.

    Args:
        config: the settings.
        models: the models of the account.
        log: the server's log.
        environ: the environment from which Claude Code's is made.
        on_launcher: gets the launcher of the processes.
        on_outdated: as for `Primer`.
        on_login: as `on_change` for `LoginWatch`. The demo needs no login.

    Raises:
        StartError: the system lacks files, processes or disk space.
        ConfigError: the command of the config cannot be used.
    """
    if config.claude_command is not None:
        find_claude(config.claude_command)  # before a nursery is open, which would wrap the error in a group
    with _starting():
        await _recover(log)
        private = tempfile.TemporaryDirectory(prefix=PRIVATE_FOLDER, ignore_cleanup_errors=True)
    async with ended_in_a_thread(private) as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            extra_env = {**named_environment(os.environ, config.pass_env), **config.extra_env}
            if config.demo:
                stand_in = await stack.enter_async_context(MessagesApi.serving(demo_reply, remember=False))
                extra_env |= stand_in_environment(stand_in.base_url, folder / "config")
            guardian = await stack.enter_async_context(ended_in_a_thread(guarding(folder, log)))
            with _starting():
                confinement = await run_in_thread(try_confinement, config.confine, {**environ, **extra_env}, folder)
                log.info("confinement.tried", confined=bool(confinement.bwrap), reason=confinement.reason)
                are_folders_named = bool(config.allowed_working_directory_prefixes)
                launcher = Launcher(
                    command=config.claude_command,
                    folder=folder,
                    environ=environ,
                    extra_env=extra_env,
                    guardian=guardian,
                    walls=ToolWalls(
                        confinement, (folder, *_secrets(config)), are_folders_named=are_folders_named, log=log
                    ),
                    models=models,
                    log=log,
                )
            on_launcher(launcher)
            primer = Primer(launcher, MessagesApi.serving, log, on_outdated)
            login = LoginWatch(launcher.login, log, None if config.demo else on_login)
            if config.backend == "cli":
                yield CliBackend(launcher, primer, login)
                return
            settings = SdkSettings(
                kept=config.max_idle_sessions,
                idle_s=config.session_ttl_ms / 1000,
                parked_s=config.tool_result_ttl_ms / 1000,
                spares=config.spares,
                default_model=config.catalog().resolve("claude"),
            )
            yield SdkBackend(launcher, primer, login, settings, log)


def _secrets(config: Config) -> list[Path]:
    """Return the server's files outside the private folder that Claude's own tools must not read or change."""
    log_file = config.effective_log_file
    rotated = [] if log_file is None else [log_file, log_file.with_name(f"{log_file.name}.1")]
    databases = [path for path in (config.usage_file, config.responses_file) if path is not None]
    journals = [path.with_name(f"{path.name}-journal") for path in databases]
    own = (config.output_dir, config.record, *databases, *journals, config.keys_file)
    others = [path for path in own if path is not None]
    return [*config.private_files, *others, *rotated]


async def _recover(log: Log) -> None:
    """Remove the files of servers that were killed together with their guardians."""
    left = [f"not within {RECOVER_WAIT_S:g} s"]
    try:
        with trio.move_on_after(RECOVER_WAIT_S):
            left = await run_in_thread(recover, Path(tempfile.gettempdir()), abandon_on_cancel=True)
    except OSError as error:
        left = [str(error)]
    for each in left:
        log.warning("process.files_left", reason=f"files of a killed server: {each}")


@contextmanager
def _starting() -> Iterator[None]:
    """Convert errors of the system (files, processes, threads) during the start.

    Raises:
        StartError: the system is out of a resource, or refuses it.
    """
    try:
        with needing_a_thread():
            yield
    except OSError as error:
        raise StartError(f"cannot start: {described(error)}", hint=shortage_hint(error)) from error


@asynccontextmanager
async def ended_in_a_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter a context manager here and leave it in a thread.

    For managers whose exit waits for a disk or a process while other tasks use the event loop. The exit must be bounded
    in time.
    """
    with _starting():
        value = manager.__enter__()
    try:
        yield value
    finally:
        with trio.CancelScope(shield=True):
            try:
                await run_in_thread(manager.__exit__, None, None, None)
            except NoThreadError:
                manager.__exit__(None, None, None)
