"""The whole HTTP stack for a test, over connections in memory and under a mock clock: no socket, thread or process.

`serving` puts together what `server.serve` does, but for the listeners: admission, runs, the app, hypercorn's protocol.
When the block ends it is checked that nothing is left: no task, no slot, no turn, and no error in the log that the test
did not announce. `run_in_memory` is for tests that are not coroutines, such as hypothesis's.

The clock jumps as soon as every task waits (`conftest.py`), so a test may sleep for an hour, times are exact, and a
hang is found at once. That is safe here only because nothing waits for the world outside.
"""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import trio
from hypercorn.typing import ASGIFramework
from trio.testing import MockClock, wait_all_tasks_blocked

from claude_openai.cassettes.recorder import Recorder
from claude_openai.config import Config
from claude_openai.keys.keyring import Keyring
from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.offload import Offload
from claude_openai.runs.admission import Admission
from claude_openai.runs.registry import KEPT_RUNS, RunLimits, Runs
from claude_openai.runs.tracing import Tracing
from claude_openai.runs.usage.ledger import Ledger
from claude_openai.state.store import StateStore
from claude_openai.testing.pipes import Pipe, ServerEnd
from claude_openai.web.app import build_app
from claude_openai.web.http.listener import Connections
from tests.memory.client import Answer, Client, Headers
from tests.scripted_backend import ScriptedBackend, TurnScript, TurnStep

__all__ = ["BEGIN", "Server", "chat", "run_in_memory", "serving"]

# Virtual seconds, beyond every timeout: what still waits then waits for ever.
LIMIT_S: Final = 3600.0

# Unix time at which each test begins: half an hour before local midnight.
BEGIN: Final = datetime(2026, 11, 27, 23, 30).timestamp()

T = TypeVar("T")


def unix_time() -> float:
    """The Unix time of the accounts: virtual, as all time here."""
    return BEGIN + trio.current_time()  # a MockClock begins at 0


def chat(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    """The body of a chat request with one user message."""
    return {"model": "claude-sonnet", "messages": [{"role": "user", "content": text}], **fields}


async def _here(work: Callable[[], T]) -> T:
    return work()


class Server:
    """The stack, its parts open to the test."""

    def __init__(
        self,
        config: Config,
        backend: ScriptedBackend,
        nursery: trio.Nursery,
        app: ASGIFramework | None = None,
        limit: float = math.inf,
        offload: Offload = _here,
        kept_runs: int = KEPT_RUNS,
        recorder: Callable[[Log], Recorder] | None = None,
        tracing: Tracing | None = None,
        state: StateStore | None = None,
    ) -> None:
        self.backend = backend
        self.nursery = nursery
        self.records: list[dict[str, Any]] = []
        self.request_ids: list[str] = []
        self.log = Log(Level.TRACE, lambda line: self.records.append(json.loads(line)), Redactor())
        self.admission = Admission(config.max_concurrency, config.max_queue_size)
        limits = RunLimits.of(config)
        key = "none" if config.api_key is None else "default"
        ledger = Ledger(limits.usage, key=key, log=self.log, now=unix_time)
        keys = None if config.keys_file is None else Keyring(config.keys_file, self.log, unix_time)
        self.runs = Runs(backend, self.admission, limits, ledger=ledger, keys=keys, kept=kept_runs)
        self.runs.nursery = nursery
        self.recorder = recorder(self.log) if recorder else None
        real = build_app(
            config,
            self.runs,
            self.log,
            backend.status,
            offload=offload,
            recorder=self.recorder,
            tracing=tracing,
            state=state,
        )
        self.probes = real.probes
        self.connections = Connections(app or real, config, self.log, limit)
        self._clients: list[Client] = []

    def connect(self, capacity: float = math.inf) -> Client:
        """A new connection; `capacity` as in `Pipe`, for what the server sends."""
        client, stream = self.connection(capacity)
        self.nursery.start_soon(self.connections.serve, stream)
        return client

    def connection(self, capacity: float = math.inf) -> tuple[Client, trio.SocketStream]:
        """A connection that is not served yet: both its ends."""
        to_server, to_client = Pipe(), Pipe(capacity)
        client = Client(to_client, to_server)
        self._clients.append(client)
        return client, cast("trio.SocketStream", ServerEnd(to_server, to_client))

    async def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """One request without a body on a connection of its own; in names of headers `_` stands for `-`."""
        return await self.ask(method, target, headers={name.replace("_", "-"): v for name, v in headers.items()})

    async def post(self, payload: object, target: str = "/v1/chat/completions", **headers: str) -> Answer:
        client = self.connect()
        await client.post(payload, target, **headers)
        return await self._whole(client)

    async def ask(self, method: str, target: str, *body: bytes, headers: Headers | None = None) -> Answer:
        """As `Client.send`, on a connection of its own."""
        client = self.connect()
        await client.send(method, target, *body, headers=headers)
        return await self._whole(client)

    async def streaming(self, text: str = "Hi") -> Client:
        """A connection on which a stream has begun."""
        client = self.connect()
        await client.post(chat(text, stream=True))
        status, headers = await client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        self.request_ids.append(headers["x-request-id"])
        return client

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["event"] == event]

    def assert_free(self) -> None:
        """No slot is taken, no request waits, no turn is left."""
        state = (self.admission.running, self.admission.queued, self.backend.active)
        assert state == (0, 0, 0), f"running, queued, active: {state}"

    async def finish(self, expected_errors: Collection[str]) -> None:
        """Everybody leaves, and nothing may be left.

        Args:
            expected_errors: the events of level `error` that the test is about.
        """
        for client in self._clients:
            client.leave()
        await self.admission.wait_idle()
        await wait_all_tasks_blocked()
        self.assert_free()
        assert not self.nursery.child_tasks
        assert not self.runs._active
        assert {record["event"] for record in self.records if record["level"] == "error"} == set(expected_errors)
        assert len(set(self.request_ids)) == len(self.request_ids), "an id was used twice"
        assert set(self.request_ids) <= {record["request_id"] for record in self.logged("http.request")}

    async def _whole(self, client: Client) -> Answer:
        answer = await client.answer()
        assert answer.headers["x-request-id"].startswith("req_")
        assert "server" not in answer.headers
        self.request_ids.append(answer.headers["x-request-id"])
        return answer


@asynccontextmanager
async def serving(
    script: ScriptedBackend | tuple[TurnStep, ...] | TurnScript | None = None,
    *,
    expected_errors: Collection[str] = (),
    app: ASGIFramework | None = None,
    limit: float = math.inf,
    offload: Offload | None = None,
    kept_runs: int = KEPT_RUNS,
    recorder: Callable[[Log], Recorder] | None = None,
    tracing: Tracing | None = None,
    state: StateStore | None = None,
    **settings: Any,
) -> AsyncIterator[Server]:
    """A server for as long as the block.

    Args:
        script: what each turn does, or the backend itself.
        expected_errors: as in `Server.finish`.
        app: in place of the real one.
        limit: of connections.
        offload: reads the bodies; by default at once, since the clock would jump while all tasks wait for a thread.
        kept_runs: as for `Runs`.
        recorder: makes the recorder of the turns from the log.
        tracing: as for `build_app`.
        state: as for `build_app`.
        settings: fields of `Config`.
    """
    backend = script if isinstance(script, ScriptedBackend) else ScriptedBackend(script)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            parts = (offload or _here, kept_runs, recorder, tracing, state)
            server = Server(Config(**settings), backend, nursery, app, limit, *parts)
            yield server
            await server.finish(expected_errors)


def run_in_memory(test: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run a coroutine function under the clock of this folder."""
    return trio.run(test, *args, clock=MockClock(autojump_threshold=0))
