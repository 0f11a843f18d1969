"""Composition root: builds the parts of the server and closes them in reverse order.

`serve` owns everything that outlives a request: the log, the private folder, the guardian, the listeners, the
connections. Signal handlers and flags belong to `commands`.

Shutdown: new requests are rejected, after the time of the lame duck; running turns may end within the drain timeout;
the rest are cancelled, and their clients get an error; then the connections are closed, and last the guardian, which
kills processes that are left.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import trio

from claude_openai._version import __version__
from claude_openai.cassettes.recorder import Recorder
from claude_openai.claude.assembly import claude_backend, ended_in_a_thread
from claude_openai.claude.backend import Backend
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.claude.process.login import Login
from claude_openai.config import Config
from claude_openai.errors import ConfigError, ShuttingDown
from claude_openai.keys.keyring import Keyring
from claude_openai.logs.log import NULL_LOG, Level, Log, LogFormat, captured_libraries, captured_process, open_log
from claude_openai.preload import preload
from claude_openai.runs.admission import Admission
from claude_openai.runs.capture.writer import RunWriter
from claude_openai.runs.drain import drain_at
from claude_openai.runs.registry import RunLimits, Runs
from claude_openai.runs.trace_export import open_tracing
from claude_openai.runs.usage.book import Book
from claude_openai.runs.usage.ledger import Ledger, book_of
from claude_openai.state.access import WRITE_S
from claude_openai.state.opening import shared_store
from claude_openai.state.store import StateError
from claude_openai.threads import NoThreadError, run_in_thread
from claude_openai.trio_only import require_trio
from claude_openai.web.app import build_app
from claude_openai.web.http.listener import Connections, connection_limit
from claude_openai.web.http.sockets import SocketListener, close_all, open_listeners, taken_over, urls_of

if TYPE_CHECKING:
    from claude_openai.runs.tracing import Tracing
    from claude_openai.state.file import FileState
    from claude_openai.state.redis import RedisStore

__all__ = ["serve"]

T = TypeVar("T")

# After the drain the turns are cancelled. A process is killed within 3 s, and its owner waits at most 6 s for it
# (`conversation`, `registry`).
RUNS_END_WAIT_S = 8.0
# How long a turn of a key that was revoked may go on.
REVOKED_WITHIN_S: Final = 0.5
PRUNE_S: Final = 600.0

WITHOUT_TRIO: Final = (
    "in a test use `with claude_openai.testing.running_fake_claude(...)`; an asyncio program can run trio as its "
    "guest, see `claude-openai help testing`"
)


def _nothing() -> None:
    pass


async def serve(
    config: Config,
    *,
    backend: Backend | None = None,
    stop: trio.Event | None = None,
    sockets: Sequence[socket.socket] = (),
    on_loaded: Callable[[], None] = _nothing,
    on_outdated: Callable[[str], None] | None = None,
    on_login: Callable[[Login], None] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until `stop` is set and the running turns have ended.

    Cancelling ends the running turns at once. In both cases no process and no socket is left when this returns.

    Args:
        config: the settings.
        backend: runs the turns, for tests of the server itself; by default the one named by `config.backend`.
        stop: set it for a graceful shutdown.
        sockets: listening sockets of a service manager, in place of the addresses of the config. They are closed here;
            once the server drains, connections wait in them for its successor.
        on_loaded: called once, after the server listens, when all modules that it needs are imported.
        on_outdated: called with what an old Claude Code lacks, on one line; see `Primer`.
        on_login: called with the login of Claude Code, once it was looked up and when it has changed; see `LoginWatch`.
        task_status: `await nursery.start(serve, config)` returns the base URLs once the server listens.

    Raises:
        StartError: the address cannot be bound, the system lacks files, processes or disk space, or an extra
            is missing.
        ConfigError: the command, the log file, the cassette or the spans of the config cannot be used, or it has
            `background`.
        RuntimeError: this is not a task of trio.
    """
    require_trio("claude_openai.serve", WITHOUT_TRIO)
    if config.background:
        raise ConfigError("invalid background: True; expected False, since serve() runs in the process of its caller")
    async with (
        ended_in_a_thread(_logging(config)) as log,
        ended_in_a_thread(_writing(config, log)) as writer,
        nullcontext(shared_store(config, log)) as shared,
        _accounting(config, log) as ledger,
        ended_in_a_thread(_recording(config, log)) as recorder,
        _tracing(config, log) as tracing,
        _listening(config, sockets) as listeners,
    ):
        keys = None if config.keys_file is None else await run_in_thread(Keyring, config.keys_file, log)
        models = KnownModels(config.catalog(), log)
        running = (
            nullcontext(backend)
            if backend
            else claude_backend(config, models, log, on_outdated=on_outdated, on_login=on_login)
        )
        async with running as the_backend:
            admission = Admission(config.max_concurrency, config.max_queue_size)
            runs = Runs(the_backend, admission, RunLimits.of(config), writer, ledger=ledger, keys=keys)
            state = _state(config)
            app = build_app(
                config,
                runs,
                log,
                the_backend.status,
                catalog=models.catalog,
                recorder=recorder,
                tracing=tracing,
                state=shared or state,
            )
            connections = Connections(app, config, log, connection_limit(config))
            closing = trio.Event()
            async with trio.open_nursery() as nursery:
                leave = admission.wait_draining if sockets else closing.wait
                await nursery.start(_hold_runs, runs, shared, closing)
                nursery.start_soon(_hold_connections, connections, listeners, leave, closing)
                try:
                    log.debug("server.start", version=__version__, urls=urls_of(listeners), backend=the_backend.name)
                    task_status.started(urls_of(listeners))
                    nursery.start_soon(_hold_backend, the_backend, closing, on_loaded, log)
                    nursery.start_soon(_end_revoked, runs, closing)
                    nursery.start_soon(_prune, state, closing)
                    await drain_at(
                        trio.Event() if stop is None else stop,
                        admission,
                        config.lame_duck_ms / 1000,
                        config.drain_timeout_ms / 1000,
                        log,
                    )
                finally:
                    admission.draining = True
                    await _end_runs(runs, admission, log)
                    closing.set()
            app.probes.report()
        log.debug("server.stop")


async def _hold_runs(
    runs: Runs,
    shared: "RedisStore | None",
    closing: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Own the lasting runs until `closing` is set, when all runs were cancelled; then end the store that they use."""
    # Shielded, so that a run that is cancelled with the server still gets its error.
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            if shared is not None:
                await nursery.start(shared.run)
            async with trio.open_nursery() as runs.nursery:
                task_status.started()
                await closing.wait()
                runs.nursery.cancel_scope.cancel(reason="the server stops")
            nursery.cancel_scope.cancel(reason="the server stops")


async def _hold_connections(
    connections: Connections,
    listeners: Sequence[SocketListener],
    leave: Callable[[], Awaitable[None]],
    closing: trio.Event,
) -> None:
    """Accept connections until `leave` returns, and serve them until `closing` is set, which happens later."""
    # Shielded: a cancel in the middle of a send would break the connection's state. `serve` sets `closing` on every
    # path.
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            accepting = trio.CancelScope()
            nursery.start_soon(_accept, connections, listeners, nursery, accepting)
            await leave()
            accepting.cancel(reason="the server stops")
            await closing.wait()
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


async def _end_revoked(runs: Runs, closing: trio.Event) -> None:
    """End the runs of keys that are revoked, as long as the server runs."""
    if runs.keys is None:
        return
    while not closing.is_set():
        runs.end_revoked()
        with trio.move_on_after(REVOKED_WITHIN_S):
            await closing.wait()


async def _prune(state: "FileState | None", closing: trio.Event) -> None:
    """Delete what is too old, as long as the server runs, also if nothing is written any more."""
    while state is not None and not closing.is_set():
        with trio.move_on_after(WRITE_S), suppress(StateError):  # a request that needs the file says so
            await state.prune()
        with trio.move_on_after(PRUNE_S):
            await closing.wait()


async def _accept(
    connections: Connections,
    listeners: Sequence[SocketListener],
    nursery: trio.Nursery,
    accepting: trio.CancelScope,
) -> None:
    with accepting:
        await connections.accept(listeners, nursery)


async def _end_runs(runs: Runs, admission: Admission, log: Log) -> None:
    runs.cancel_all(ShuttingDown("The server is shutting down.", may_retry=False))
    with trio.move_on_after(RUNS_END_WAIT_S, shield=True) as waiting:
        await admission.wait_idle()
    if waiting.cancelled_caught:
        log.error("server.runs_left", running=admission.running)


def _state(config: Config) -> "FileState | None":
    """Return the store of the stored responses besides the memory, None for none."""
    if config.responses_file is None or not config.store:
        return None
    # Imported here, because servers without a file need no SQLite.
    from claude_openai.state.file import FileState

    return FileState(config.responses_file)


@asynccontextmanager
async def _listening(config: Config, sockets: Sequence[socket.socket]) -> AsyncIterator[list[SocketListener]]:
    listeners = taken_over(sockets, has_key=config.needs_key) if sockets else await open_listeners(config)
    try:
        yield listeners
    finally:
        close_all(listeners)


@contextmanager
def _logging(config: Config) -> Iterator[Log]:
    if not config.is_logged:
        yield NULL_LOG
        return
    level = Level[config.effective_log_level.upper()]
    captured = captured_process if config.owns_process else captured_libraries
    opening = open_log(
        level,
        config.effective_log_file,
        log_format=cast("LogFormat", config.effective_log_format),
        colours=config.log_colours,
        secrets=_keys(config),
    )
    with opening as log, captured(log):
        yield log


def _keys(config: Config) -> list[str]:
    return [key for key in (config.api_key, config.control_key, config.state_password, config.state_key) if key]


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
def _recording(config: Config, log: Log) -> Iterator[Recorder | None]:
    if config.record is None:
        yield None
        return
    recorder = Recorder(config.record, keep_times=config.record_times, secrets=_keys(config), log=log)
    try:
        yield recorder
    finally:
        recorder.close()


@asynccontextmanager
async def _tracing(config: Config, log: Log) -> "AsyncIterator[Tracing | None]":
    if not config.otel:
        yield None
        return
    async with open_tracing(log) as tracing:
        yield tracing


@asynccontextmanager
async def _accounting(config: Config, log: Log) -> AsyncIterator[Ledger]:
    # The dollars of the demo are made up.
    path = None if config.demo else config.usage_file
    redis = None if config.demo or config.state_url is None else (config.state_url, config.state_password)
    async with ended_in_a_thread(_booking(path, log, redis)) as book:
        with suppress(NoThreadError):  # the backend cannot start either, and says so
            await run_in_thread(book.wait_until_read)
        key = "none" if config.api_key is None else "default"
        yield Ledger(RunLimits.of(config).usage, key=key, book=book, log=log)


@contextmanager
def _booking(path: Path | None, log: Log, redis: tuple[str, str | None] | None) -> Iterator[Book]:
    with closing(book_of(path, log, redis=redis)) as book:
        yield book
