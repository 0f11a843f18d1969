"""Composition root: builds the parts of the server and closes them in reverse order.

`serve` owns everything that outlives a request: the log, the private folder, the guardian, the listeners, the
connections. Signal handlers and flags belong to `commands`.

Shutdown: new requests are rejected; running turns may end within the drain timeout; the rest are cancelled, and their
clients get an error; then the connections are closed, and last the guardian, which kills processes that are left.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from claude_openai._version import __version__
from claude_openai.claude.backend import Backend
from claude_openai.claude.cli import CliBackend
from claude_openai.claude.leftovers.ledger import PRIVATE_FOLDER, recover
from claude_openai.claude.priming import Primer
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.claude.process.environment import named_environment
from claude_openai.claude.process.guardian import guarding
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.claude.process.launcher import Launcher
from claude_openai.claude.process.program import find_claude
from claude_openai.claude.sdk.backend import SdkBackend
from claude_openai.claude.sdk.settings import SdkSettings
from claude_openai.claude.walls.confinement import try_confinement
from claude_openai.claude.walls.tool_walls import ToolWalls
from claude_openai.config import Config
from claude_openai.errors import ShuttingDown, StartError
from claude_openai.logs.log import NULL_LOG, Level, Log, captured_stdlib, open_log
from claude_openai.preload import preload
from claude_openai.runs.admission import Admission
from claude_openai.runs.capture.writer import RunWriter
from claude_openai.runs.registry import RunLimits, Runs
from claude_openai.runs.usage.ledger import Ledger, opened_book
from claude_openai.shortages import described, shortage_hint
from claude_openai.standin.demo import demo_reply
from claude_openai.standin.server import MessagesApi
from claude_openai.threads import NoThreadError, needing_a_thread, run_in_thread
from claude_openai.web.app import build_app
from claude_openai.web.http.listener import Connections, TcpListener, connection_limit, open_listeners, urls_of

__all__ = ["serve"]

T = TypeVar("T")

# After the drain the turns are cancelled. A process is killed within 3 s, and its owner waits at most 6 s for it
# (`conversation`, `registry`).
RUNS_END_WAIT_S = 8.0
# How long the start waits for the cleanup after killed servers. The cleanup continues in its thread.
RECOVER_WAIT_S = 2.0


def _nothing() -> None:
    pass


async def serve(
    config: Config,
    *,
    backend: Backend | None = None,
    stop: trio.Event | None = None,
    on_loaded: Callable[[], None] = _nothing,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until `stop` is set and the running turns have ended.

    Cancelling ends the running turns at once. In both cases no process and no socket is left when this returns.

    Args:
        config: the settings.
        backend: runs the turns; by default the backend named by `config.backend`.
        stop: set it for a graceful shutdown.
        on_loaded: called once, after the server listens, when all modules that it needs are imported.
        task_status: `await nursery.start(serve, config)` returns the base URLs once the server listens.

    Raises:
        StartError: the address cannot be bound, or the system lacks files, processes or disk space.
        ConfigError: the command or the log file of the config cannot be used.
    """
    async with (
        _ended_in_a_thread(_logging(config)) as log,
        _ended_in_a_thread(_writing(config, log)) as writer,
        _ended_in_a_thread(_accounting(config, log)) as ledger,
        _listening(config) as listeners,
    ):
        models = KnownModels(config.catalog(), log)
        async with _backend(config, backend, models, log) as the_backend:
            admission = Admission(config.max_concurrency, config.max_queue_size)
            runs = Runs(the_backend, admission, RunLimits.of(config), writer, ledger)
            app = build_app(config, runs, log, the_backend.status, catalog=models.catalog)
            connections = Connections(app, config, log, connection_limit(config))
            closing = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hold_connections, connections, listeners, closing)
                try:
                    log.debug("server.start", version=__version__, urls=urls_of(listeners), backend=the_backend.name)
                    task_status.started(urls_of(listeners))
                    nursery.start_soon(_hold_backend, the_backend, closing, on_loaded, log)
                    await _until_drained(
                        trio.Event() if stop is None else stop, admission, config.drain_timeout_ms / 1000, log
                    )
                finally:
                    admission.draining = True
                    await _end_runs(runs, admission, log)
                    closing.set()
        log.debug("server.stop")


async def _hold_connections(connections: Connections, listeners: Sequence[TcpListener], closing: trio.Event) -> None:
    # Shielded: a cancel in the middle of a send would break the connection's state. `serve` sets `closing` on every
    # path.
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            accepting = trio.CancelScope()
            nursery.start_soon(_accept, connections, listeners, nursery, accepting)
            await closing.wait()
            accepting.cancel(reason="the server stops")
            await connections.close(nursery)


async def _hold_backend(backend: Backend, closing: trio.Event, on_loaded: Callable[[], None], log: Log) -> None:
    async def run() -> None:
        await preload(backend.modules, log)
        on_loaded()
        await backend.run()

    # Shielded for the same reason: a conversation must not end before the run that leases it.
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await closing.wait()
            nursery.cancel_scope.cancel(reason="the server stops")


async def _accept(
    connections: Connections,
    listeners: Sequence[TcpListener],
    nursery: trio.Nursery,
    accepting: trio.CancelScope,
) -> None:
    with accepting:
        await connections.accept(listeners, nursery)


async def _until_drained(stop: trio.Event, admission: Admission, timeout_s: float, log: Log) -> None:
    await stop.wait()
    admission.draining = True
    log.info("server.drain", running=admission.running, queued=admission.queued)
    with trio.move_on_after(timeout_s):
        await admission.wait_idle()


async def _end_runs(runs: Runs, admission: Admission, log: Log) -> None:
    runs.cancel_all(ShuttingDown("The server is shutting down.", may_retry=False))
    with trio.move_on_after(RUNS_END_WAIT_S, shield=True) as waiting:
        await admission.wait_idle()
    if waiting.cancelled_caught:
        log.error("server.runs_left", running=admission.running)


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
async def _ended_in_a_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
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


@asynccontextmanager
async def _listening(config: Config) -> AsyncIterator[list[TcpListener]]:
    listeners = await open_listeners(config.host, config.port)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.socket.close()


@asynccontextmanager
async def _backend(config: Config, backend: Backend | None, models: KnownModels, log: Log) -> AsyncIterator[Backend]:
    if backend is not None:
        yield backend
        return
    if config.claude_command is not None:
        find_claude(config.claude_command)  # before a nursery is open, which would wrap the error in a group
    with _starting():
        await _recover(log)
        private = tempfile.TemporaryDirectory(prefix=PRIVATE_FOLDER, ignore_cleanup_errors=True)
    async with _ended_in_a_thread(private) as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            extra_env = {**named_environment(os.environ, config.pass_env), **config.extra_env}
            if config.demo:
                stand_in = await stack.enter_async_context(MessagesApi.serving(demo_reply, remember=False))
                extra_env |= stand_in_environment(stand_in.base_url, folder / "config")
            guardian = await stack.enter_async_context(_ended_in_a_thread(guarding(folder, log)))
            with _starting():
                confinement = await run_in_thread(try_confinement, config.confine, os.environ | extra_env, folder)
                log.info("confinement.tried", confined=bool(confinement.bwrap), reason=confinement.reason)
                are_folders_named = bool(config.allowed_working_directory_prefixes)
                launcher = Launcher(
                    command=config.claude_command,
                    folder=folder,
                    environ=os.environ,
                    extra_env=extra_env,
                    guardian=guardian,
                    walls=ToolWalls(
                        confinement, (folder, *_secrets(config)), are_folders_named=are_folders_named, log=log
                    ),
                    models=models,
                    log=log,
                )
            primer = Primer(launcher, MessagesApi.serving, log)
            if config.backend == "cli":
                yield CliBackend(launcher, primer)
                return
            settings = SdkSettings(
                kept=config.max_idle_sessions,
                idle_s=config.session_ttl_ms / 1000,
                parked_s=config.tool_result_ttl_ms / 1000,
                spares=config.spares,
                default_model=config.catalog().resolve("claude"),
            )
            yield SdkBackend(launcher, primer, settings, log)


def _secrets(config: Config) -> list[Path]:
    """Return the server's files outside the private folder that Claude's own tools must not read or change."""
    log_file = config.effective_log_file
    rotated = [] if log_file is None else [log_file, log_file.with_name(f"{log_file.name}.1")]
    usage_file = config.usage_file
    usage = [] if usage_file is None else [usage_file, usage_file.with_name(f"{usage_file.name}-journal")]
    return [*config.private_files, *([] if config.output_dir is None else [config.output_dir]), *usage, *rotated]


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
def _logging(config: Config) -> Iterator[Log]:
    if not config.log:
        yield NULL_LOG
        return
    level = Level[config.effective_log_level.upper()]
    secrets = [key for key in (config.api_key, config.control_key) if key]
    with open_log(level, config.effective_log_file, secrets=secrets) as log, captured_stdlib(log):
        yield log


@contextmanager
def _writing(config: Config, log: Log) -> Iterator[RunWriter | None]:
    if config.output_dir is None:
        yield None
        return
    writer = RunWriter(
        config.output_dir, max_age_s=config.output_max_age_ms / 1000, max_bytes=config.output_max_bytes, log=log
    )
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def _accounting(config: Config, log: Log) -> Iterator[Ledger]:
    # The dollars of the demo are made up.
    with opened_book(None if config.demo else config.usage_file, log) as book:
        key = "none" if config.api_key is None else "default"
        yield Ledger(RunLimits.of(config).usage, key=key, book=book, log=log)
