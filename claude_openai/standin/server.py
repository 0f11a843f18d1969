"""A stand-in for the Anthropic Messages API on loopback, for the real Claude Code CLI.

It records every request and answers by a script, faults included; each connection is a task of its nursery. `script.py`
defines answers, `wire.py` encodes them, `connection.py` sends them, and `validation.py` refuses requests that the
service would refuse. It checks no key and counts no real tokens.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Final, Self, TypeAlias

import trio

from claude_openai.standin.connection import AnswerOutcome, Connection
from claude_openai.standin.naming import in_claude_terms
from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import NOT_FOUND_ERROR, Answer, HttpError, Reply
from claude_openai.standin.validation import problem_of
from claude_openai.standin.wire import AnswerIdentity, Item, render, render_json
from claude_openai.trio_only import require_trio

__all__ = ["MessagesApi", "Script"]

Script: TypeAlias = Callable[[RecordedRequest], Answer]

OK = Reply("ok")
NOT_A_MESSAGE = HttpError(400, "invalid_request_error", "The body is not a JSON object, or the object is empty.")
# The CLI would retry a plain 500 ten times.
SCRIPT_FAILED = HttpError(500, "api_error", "The script of the stand-in failed.", {"x-should-retry": "false"})
LAST_WORD_S = 5  # seconds to send the error to the client before the stand-in fails
WITHOUT_TRIO: Final = "run it in a thread with a trio loop of its own (trio.run)"


class MessagesApi:
    """The stand-in: pass a script, set `ANTHROPIC_BASE_URL` to `base_url`, and read `requests`.

    Enqueued answers come first, in order; then `reply` decides. An exception of the script is a bug of the harness: the
    client gets status 500 with `x-should-retry: false`, the exception is stored in `errors` and raised from `serve()`,
    so that the surrounding nursery, and with it the test, fails with the cause.

    Requests that the real API would refuse get status 400 and are listed in `refused`; they do not use up an answer.

    Args:
        reply: one answer for every message, or a function from the request to its answer. It must not block.
        remember: False stores no requests, for a stand-in that runs for a long time.
        strict: False also answers requests that the API would refuse.
        on_death: called at a `Die` with the request; it kills the process that sent it.

    Attributes:
        requests: the `POST /v1/messages` requests, oldest first.
        all_requests: every request, with the CLI's `HEAD`.
        errors: exceptions of `reply`.
        refused: the problems of requests that the API would refuse.
        active: how many answers to `requests` are being sent, paused or hanging.
    """

    def __init__(
        self,
        reply: Script | Answer = OK,
        *,
        remember: bool = True,
        strict: bool = True,
        on_death: Callable[[RecordedRequest], None] | None = None,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.all_requests: list[RecordedRequest] = []
        self.refused: list[str] = []
        self._remember = remember
        self._strict = strict
        self._on_death = on_death
        self._numbers = count(1)
        self.errors: list[Exception] = []
        self.active: int = 0
        self._reply = reply
        self._enqueued: deque[Answer] = deque()
        self._arrival = trio.Event()
        self._port: int | None = None

    @classmethod
    @asynccontextmanager
    async def serving(
        cls, reply: Script | Answer = OK, *, remember: bool = True, strict: bool = True
    ) -> AsyncIterator[Self]:
        """Serve while the block runs; leaving the block drops every connection.

        Raises:
            ExceptionGroup: what the block or the script raised, in a group as from any nursery.
            RuntimeError: this is not a task of trio.
        """
        require_trio("MessagesApi.serving", WITHOUT_TRIO)
        api = cls(reply, remember=remember, strict=strict)
        async with trio.open_nursery() as nursery:
            await nursery.start(api.serve)
            yield api
            nursery.cancel_scope.cancel()

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled: `base_url = await nursery.start(api.serve)`.

        Raises:
            OSError: no port is available on 127.0.0.1.
            ExceptionGroup: the script raised.
            RuntimeError: this is not a task of trio.
        """
        require_trio("MessagesApi.serve", WITHOUT_TRIO)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._port = listeners[0].socket.getsockname()[1]
        task_status.started(self.base_url)
        await trio.serve_listeners(self._serve_connection, listeners)

    @property
    def base_url(self) -> str:
        """The current or last address, like `http://127.0.0.1:40123`.

        Raises:
            RuntimeError: `serve` has not started yet.
        """
        if self._port is None:
            raise RuntimeError("the stand-in has no address before serve() has started")
        return f"http://127.0.0.1:{self._port}"

    def enqueue(self, *answers: Answer) -> None:
        """Answer the next messages with these, one each, before `reply` is used again."""
        self._enqueued.extend(answers)

    async def wait_for_request(self, n: int = 1) -> RecordedRequest:
        """Wait for the `n`-th message request, counted from 1, and return it. Not bounded in time."""
        while len(self.requests) < n:
            await self._arrival.wait()
        return self.requests[n - 1]

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = Connection(stream)
            while (request := await connection.next_request()) is not None:
                if self._remember:
                    self.all_requests.append(request)
                if request.is_message and request.body:
                    await self._answer_message(connection, request)
                else:
                    await self._answer(connection, request, self._route(request))

    def _route(self, request: RecordedRequest) -> Iterator[Item]:
        """Return the answer to a request that scripts do not answer."""
        if request.is_message:
            return self._render(NOT_A_MESSAGE, request)
        if request.method == "HEAD":
            return render_json({})
        if request.method == "POST" and request.path == "/v1/messages/count_tokens":
            return render_json({"input_tokens": request.prompt_words})
        return self._render(NOT_FOUND_ERROR, request)

    async def _answer_message(self, connection: Connection, request: RecordedRequest) -> None:
        with self._in_flight(request):
            try:
                answer = self._refusal(request) or self._choose(request)
            except Exception as error:
                self.errors.append(error)
                with trio.move_on_after(LAST_WORD_S):
                    await self._answer(connection, request, self._render(SCRIPT_FAILED, request))
                raise
            await self._answer(connection, request, self._render(answer, request))

    @contextmanager
    def _in_flight(self, request: RecordedRequest) -> Iterator[None]:
        if self._remember:
            self.requests.append(request)
        self._arrival.set()
        self._arrival = trio.Event()
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def _answer(self, connection: Connection, request: RecordedRequest, items: Iterator[Item]) -> None:
        try:
            outcome = await connection.answer(items)
            if connection.died and self._on_death is not None:
                self._on_death(request)
            if outcome is AnswerOutcome.FINISHED:
                request.finished.set()
            elif outcome is AnswerOutcome.DISCONNECTED:
                request.disconnected.set()
        finally:
            request.ended.set()

    def _refusal(self, request: RecordedRequest) -> HttpError | None:
        problem = problem_of(request.body) if self._strict else None
        if problem is None:
            return None
        if self._remember:
            self.refused.append(problem)
        return HttpError(400, "invalid_request_error", problem)

    def _choose(self, request: RecordedRequest) -> Answer:
        answer: Answer
        if self._enqueued:
            answer = self._enqueued.popleft()
        elif isinstance(self._reply, Reply | HttpError):
            answer = self._reply
        else:
            answer = self._reply(request)
        if not isinstance(answer, Reply | HttpError):
            raise TypeError(f"the script answered with {answer!r}, which is neither a Reply nor an HttpError")
        return in_claude_terms(answer, request.tools)

    def _render(self, answer: Answer, request: RecordedRequest) -> Iterator[Item]:
        number = next(self._numbers)
        identity = AnswerIdentity(request.model, f"msg_{number:024d}", f"req_{number:024d}")
        return render(answer, identity, stream=request.stream)
