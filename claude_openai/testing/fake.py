"""The object that `fake_claude` yields: the whole server on a script, with clients in memory.

Everything from the HTTP connection to the reader of Claude Code's records is the server's own code; only the program
`claude` is played. Nothing waits for the world outside, so a mock clock controls all. A socket is opened when `url` is
first read.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import trio

from claude_openai.errors import ShuttingDown
from claude_openai.runs.admission import Admission
from claude_openai.runs.capture.records import RunRecord
from claude_openai.runs.registry import RunLimits, Runs
from claude_openai.standin.script import AnswerLike, answer_of
from claude_openai.testing.answers import Answers, ScriptLike
from claude_openai.testing.clients import Ends, http_client, openai_client
from claude_openai.testing.faults import FAULTS, FaultKind, FaultRuns
from claude_openai.testing.parts import Parts
from claude_openai.testing.pipes import Pipe, ServerEnd
from claude_openai.testing.recorder import recorded
from claude_openai.testing.requests import FakeRequest
from claude_openai.web.app import build_app
from claude_openai.web.http.listener import Connections
from claude_openai.web.http.sockets import SocketListener, local_listener

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["API_KEY", "FakeClaude"]

API_KEY: Final = "sk-fake-claude"
# Clients in memory use this name; the server accepts names that end in `.localhost`.
MEMORY_URL: Final = "http://claude.localhost/v1"
# How long the turns of a test that has ended may take to end.
END_WAIT_S: Final = 10.0

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
        self.api_key: str = config.api_key or API_KEY
        self.requests: list[FakeRequest] = []
        self.log: list[dict[str, Any]] = parts.records
        self._answers = answers
        self._nursery = nursery
        self._closed = False
        self._clients: list[Callable[[], Any]] = []
        self._listener: SocketListener | None = None
        self._accepting = trio.CancelScope()
        self._arrival = trio.Event()
        self._admission = Admission(config.max_concurrency, config.max_queue_size)
        self._runs = Runs(parts.backend, self._admission, RunLimits.of(config))
        self._runs.nursery = nursery
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
        return f"{self._listener.url}/v1"

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

    def faults(self, *conversation: AnswerLike, kinds: Sequence[FaultKind] = FAULTS) -> FaultRuns:
        """Iterate over the faults that a conversation can have, one run of the program each: use it in `async for`.

        In each run the answers are those of the conversation, but Claude breaks off at one place of one answer: the
        connection to Claude is cut, nothing more comes, or the process dies. The request that is answered then gets
        no other answer; if the program sends it again, it gets the answer without the fault.

        Args:
            conversation: the answers without a fault.
            kinds: the faults.

        Raises:
            TypeError: a value is not an answer.
        """
        answers = [answer_of(each, f"answer {number}") for number, each in enumerate(conversation, 1)]
        return FaultRuns(answers, kinds, self._answers, self.requests)

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

    async def _accept(self, listener: SocketListener) -> None:
        # Closed here, not by `_close`: this task may not have begun by then, and would wait for a closed socket.
        with listener.socket, self._accepting:
            await self._connections.accept([listener], self._nursery)

    def _note_request(self, request: FakeRequest) -> None:
        self.requests.append(request)
        self._arrival.set()
        self._arrival = trio.Event()


async def _at_once(work: Callable[[], T]) -> T:
    """Parse a body here: while a thread works, a mock clock would jump."""
    return work()
