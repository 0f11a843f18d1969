"""`fake_claude`: the whole server on a script, for the tests of a program that talks to it.

    async with fake_claude("Hello", ToolUse("get", {"q": 1}), "done") as claude:
        client = claude.openai()
        ...
        assert claude.last.prompt == "Hi"

Everything from the HTTP connection to the reader of Claude Code's records is the server's own code; only the program
`claude` is played. Connections are in memory, and nothing waits for the world outside, so a mock clock controls all.
A socket is opened when `url` is first read.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import trio

from claude_openai.config import Config
from claude_openai.errors import ShuttingDown
from claude_openai.runs.admission import Admission
from claude_openai.runs.capture.records import RunRecord
from claude_openai.runs.registry import RunLimits, Runs
from claude_openai.testing.answers import Answers, ScriptLike
from claude_openai.testing.clients import Ends, http_client, openai_client
from claude_openai.testing.clock import hold_clock
from claude_openai.testing.parts import Parts, opened_parts
from claude_openai.testing.pipes import Pipe, ServerEnd
from claude_openai.testing.recorder import recorded
from claude_openai.testing.requests import FakeRequest
from claude_openai.web.app import build_app
from claude_openai.web.http.listener import Connections, TcpListener, local_listener, urls_of

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["FakeClaude", "fake_claude"]

API_KEY: Final = "sk-fake-claude"
# Clients in memory use this name; the server accepts names that end in `.localhost`.
MEMORY_URL: Final = "http://claude.localhost/v1"
# Tests may run many requests at once; Config has a test of the queue.
DEFAULTS: Final = {"port": 0, "api_key": API_KEY, "max_concurrency": 100, "spares": 0}
# How long the turns of a test that has ended may take to end.
END_WAIT_S: Final = 10.0

NOT_TRIO: Final = (
    "fake_claude runs in trio; with asyncio, and without an event loop, use `with running_fake_claude(...) as claude:`"
)

T = TypeVar("T")


class FakeClaude:
    """A server on a script; see `fake_claude`.

    Attributes:
        api_key: the key that clients must send.
        requests: all requests so far, oldest first, also refused ones.
        log: the records of the server's log.
    """

    def __init__(self, answers: Answers, parts: Parts, nursery: trio.Nursery) -> None:
        config, log = parts.config, parts.log
        self.api_key = config.api_key or API_KEY
        self.requests: list[FakeRequest] = []
        self.log = parts.records
        self._answers = answers
        self._nursery = nursery
        self._closed = False
        self._clients: list[Callable[[], Any]] = []
        self._listener: TcpListener | None = None
        self._accepting = trio.CancelScope()
        self._arrival = trio.Event()
        self._admission = Admission(config.max_concurrency, config.max_queue_size)
        self._runs = Runs(parts.backend, self._admission, RunLimits.of(config))
        app = build_app(config, self._runs, log, parts.backend.status, catalog=parts.models.catalog, offload=_at_once)
        self._connections = Connections(recorded(app, self._note_request), config, log)

    @property
    def url(self) -> str:
        """The base URL for clients that need a socket, such as `http://127.0.0.1:40123/v1`.

        The first use opens a free port on 127.0.0.1.

        Raises:
            ClosedResourceError: the fake has ended.
            StartError: the system has no socket left.
        """
        if self._listener is None:
            if self._closed:
                raise trio.ClosedResourceError("this fake_claude has ended")
            self._listener = local_listener()
            self._nursery.start_soon(self._accept, self._listener)
        return f"{urls_of([self._listener])[0]}/v1"

    @property
    def last(self) -> FakeRequest:
        """The last request.

        Raises:
            LookupError: there was none.
        """
        if not self.requests:
            raise LookupError("there was no request yet")
        return self.requests[-1]

    @property
    def runs(self) -> list[RunRecord]:
        """The runs: turns with their state, times and usage."""
        return [run.view() for run in self._runs.all()]

    def answer(self, *answers: ScriptLike) -> None:
        """Append answers to the script.

        Raises:
            TypeError: a value is not an answer.
        """
        self._answers.add(answers)

    def openai(self, **options: Any) -> "openai.AsyncOpenAI":
        """Return a client of the openai package; it is closed with the fake.

        Args:
            options: further arguments of `AsyncOpenAI`, such as `max_retries`.

        Raises:
            ImportError: the package is not installed.
        """
        client = openai_client(self._connect, MEMORY_URL, self.api_key, options)
        self._clients.append(client.close)
        return client

    def http(self, **options: Any) -> "httpx2.AsyncClient":
        """Return an `httpx.AsyncClient` with the base URL and the key; it is closed with the fake.

        Args:
            options: further arguments of `AsyncClient`.

        Raises:
            ImportError: neither httpx nor httpx2 is installed.
        """
        client = http_client(self._connect, MEMORY_URL, self.api_key, options)
        self._clients.append(client.aclose)
        return client

    async def wait_for_request(self, n: int = 1) -> FakeRequest:
        """Wait for the `n`-th request, counted from 1, and return it. Not bounded in time."""
        while len(self.requests) < n:
            await self._arrival.wait()
        return self.requests[n - 1]

    async def _close(self) -> None:
        """End the clients, the turns and the connections."""
        self._closed = True
        with trio.move_on_after(END_WAIT_S, shield=True):
            for close in self._clients:
                await close()
            self._accepting.cancel(reason="the fake has ended")
            self._admission.draining = True
            self._runs.cancel_all(ShuttingDown("The test is over.", may_retry=False))
            await self._admission.wait_idle()
            await self._connections.close(self._nursery)

    def _connect(self) -> Ends:
        """Open a connection in memory.

        Raises:
            ClosedResourceError: the fake has ended.
        """
        if self._closed:
            raise trio.ClosedResourceError("this fake_claude has ended")
        to_server, to_client = Pipe(), Pipe()
        stream = cast("trio.SocketStream", ServerEnd(to_server, to_client))
        self._nursery.start_soon(self._connections.serve, stream)
        return to_client, to_server

    async def _accept(self, listener: TcpListener) -> None:
        # Closed here, not by `_close`: this task may not have begun by then, and would wait for a closed socket.
        with listener.socket, self._accepting:
            await self._connections.accept([listener], self._nursery)

    def _note_request(self, request: FakeRequest) -> None:
        self.requests.append(request)
        self._arrival.set()
        self._arrival = trio.Event()


@asynccontextmanager
async def fake_claude(
    *answers: ScriptLike, real: bool = False, strict: bool = True, **config: Any
) -> AsyncIterator[FakeClaude]:
    """Serve the script while the block runs.

    Args:
        answers: one for each message of Claude, in order: a string, a `Reply`, an error, or a function from the
            request to one of these. A function that is the last answer answers all further requests.
        real: run the turns with real Claude Code, which must be installed, and answer it from the script. It finds
            nothing of the user's environment, login, proxies or HOME. It needs a real clock.
        strict: check that the script was followed. False also repeats the last answer for further requests, without
            an answer "ok".
        config: fields of `Config`.

    Raises:
        TypeError: a value is not an answer.
        ConfigError: a setting is invalid.
        RuntimeError: this is not a task of trio; or `real` under a mock clock.
        ClaudeMissing: `real`, and Claude Code is not installed.
        ScriptError: the program and the script do not agree. Not raised if the block raises, which then gets a note.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(NOT_TRIO)
    script = Answers(answers, strict=strict)
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
        for problem in script.problems:
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


async def _at_once(work: Callable[[], T]) -> T:
    """Parse a body here: while a thread works, a mock clock would jump."""
    return work()
