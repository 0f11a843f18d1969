"""`running_fake_claude`: the fake in a thread, for plain tests, asyncio, and clients in other processes.

    with running_fake_claude("Hello") as claude:
        openai.OpenAI(base_url=claude.url, api_key=claude.api_key)...

The thread has its own trio loop with a real clock. Leaving the block ends it, also after an exception.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from claude_openai.errors import StartError
from claude_openai.runs.capture.records import RunRecord
from claude_openai.shortages import described, shortage_hint
from claude_openai.standin.script import AnswerLike
from claude_openai.testing.answers import ScriptLike
from claude_openai.testing.clients import sync_http_client, sync_openai_client
from claude_openai.testing.fake import FakeClaude
from claude_openai.testing.faults import FAULTS, Fault, FaultKind
from claude_openai.testing.requests import FakeRequest
from claude_openai.testing.serving import fake_claude

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["RunningFakeClaude", "running_fake_claude"]

WAIT_S: Final = 10.0

T = TypeVar("T")


class RunningFakeClaude:
    """A server on a script, in a thread; see `running_fake_claude`. All methods may be called from any thread.

    Attributes:
        url: the base URL, such as `http://127.0.0.1:40123/v1`.
        api_key: the key that clients must send.
        requests: all requests so far, oldest first, also refused ones. Their `ended` can be read here, and not awaited.
        log: the records of the server's log.
    """

    def __init__(self, claude: FakeClaude, token: trio.lowlevel.TrioToken) -> None:
        self.url: str = claude.url
        self.api_key: str = claude.api_key
        self.requests: list[FakeRequest] = claude.requests
        self.log: list[dict[str, Any]] = claude.log
        self._claude = claude
        self._token = token
        self._clients: list[Callable[[], None]] = []

    @property
    def last(self) -> FakeRequest:
        """The last request.

        Raises:
            LookupError: there was none.
        """
        return self._claude.last

    @property
    def runs(self) -> list[RunRecord]:
        """The runs: turns with their state, times and usage."""
        return self._claude.runs

    @property
    def problems(self) -> list[str]:
        """How the program and the script disagreed so far; answers that were not asked for are not counted."""
        return list(self._claude._answers.problems)

    def check(self) -> None:
        """Check that the script was followed, and all of it used; leaving the block does it, too.

        Raises:
            ScriptError: it was not.
        """
        __tracebackhide__ = True  # of pytest
        self._claude._answers.check()

    def answer(self, *answers: ScriptLike) -> None:
        """Append answers to the script.

        Raises:
            TypeError: a value is not an answer.
        """
        self._claude.answer(*answers)

    def openai(self, **options: Any) -> "openai.OpenAI":
        """Return a client of the openai package for threads; it is closed with the fake.

        Args:
            options: further arguments of `OpenAI`, such as `max_retries`.

        Raises:
            ImportError: the package is not installed.
        """
        client = sync_openai_client(self.url, self.api_key, options)
        self._clients.append(client.close)
        return client

    def http(self, **options: Any) -> "httpx2.Client":
        """Return an `httpx.Client` with the base URL and the key; it is closed with the fake.

        Args:
            options: further arguments of `Client`.

        Raises:
            ImportError: neither httpx nor httpx2 is installed.
        """
        client = sync_http_client(self.url, self.api_key, options)
        self._clients.append(client.close)
        return client

    def wait_for_request(self, n: int = 1, timeout_s: float = WAIT_S) -> FakeRequest:
        """Wait for the `n`-th request, counted from 1, and return it. It blocks the thread.

        Raises:
            TimeoutError: it did not arrive in this time.
        """
        return self._wait(lambda: self._claude.wait_for_request(n), timeout_s, f"request {n} has not arrived")

    def wait_for_end(self, request: FakeRequest, timeout_s: float = WAIT_S) -> None:
        """Wait until a request is over and nothing of its turn is left. It blocks the thread.

        Raises:
            TimeoutError: it did not end in this time.
        """
        self._wait(request.ended.wait, timeout_s, f"{request!r} has not ended")

    def faults(self, *conversation: AnswerLike, kinds: Sequence[FaultKind] = FAULTS) -> Iterator[Fault]:
        """Iterate over the faults that a conversation can have, see `FakeClaude.faults`. It blocks between the runs.

        Raises:
            TypeError: a value is not an answer.
        """
        runs = self._claude.faults(*conversation, kinds=kinds)
        return iter(partial(trio.from_thread.run, runs.next, trio_token=self._token), None)

    def close_clients(self) -> None:
        """Close the clients that this object made."""
        for close in self._clients:
            close()

    def _wait(self, function: Callable[[], Awaitable[T]], timeout_s: float, problem: str) -> T:
        async def wait() -> T:
            with trio.move_on_after(timeout_s):
                return await function()
            raise TimeoutError(f"{problem} after {timeout_s:g} s")

        return trio.from_thread.run(wait, trio_token=self._token)


@contextmanager
def running_fake_claude(
    *answers: ScriptLike, real: bool = False, strict: bool = True, cassette: str | Path | None = None, **config: Any
) -> Iterator[RunningFakeClaude]:
    """Serve the script from a thread while the block runs.

    Args:
        answers: see `fake_claude`.
        real: see `fake_claude`.
        strict: see `fake_claude`.
        cassette: see `fake_claude`.
        config: fields of `Config`.

    Raises:
        TypeError: a value is not an answer; or there are both answers and a cassette.
        ConfigError: a setting is invalid, or the cassette cannot be read.
        StartError: the system lacks files or sockets.
        ScriptError: the program and the script do not agree. Not raised if the block raises, which then gets a note.
    """
    server = _Thread(answers, real=real, strict=strict, cassette=cassette, **config)
    try:
        claude = server.start()
        try:
            yield claude
        finally:
            claude.close_clients()
    except BaseException as raised:
        error = server.stop()
        if error is not None and error is not raised:
            raised.add_note(f"fake_claude: {error}")
        raise
    error = server.stop()
    if error is not None:
        raise error


class _Thread:
    """The thread with the trio loop of a fake."""

    def __init__(self, answers: tuple[ScriptLike, ...], **options: Any) -> None:
        self._answers = answers
        self._options = options
        self._claude: RunningFakeClaude | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._error: BaseException | None = None
        self._started = threading.Event()
        # A daemon, so that a second Ctrl-C, in the middle of `stop`, can end the program.
        self._thread = threading.Thread(target=self._run, name="running_fake_claude", daemon=True)

    def start(self) -> RunningFakeClaude:
        """Start the thread, and return the fake once it can be used."""
        self._thread.start()
        self._started.wait()
        if self._claude is None:
            self._thread.join()
            raise self._error or RuntimeError("the thread of the fake has ended without an error")
        return self._claude

    def stop(self) -> BaseException | None:
        """End the thread, and return what it raised."""
        if self._thread.ident is not None:
            self._started.wait()
            if self._token is not None and self._stop is not None:
                with suppress(trio.RunFinishedError):  # it has failed
                    self._token.run_sync_soon(self._stop.set)
            self._thread.join()
        return self._error

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except OSError as error:
            self._error = StartError(f"cannot run fake_claude: {described(error)}", hint=shortage_hint(error))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the caller
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        stop = trio.Event()
        async with fake_claude(*self._answers, **self._options) as claude:
            self._token, self._stop = trio.lowlevel.current_trio_token(), stop
            self._claude = RunningFakeClaude(claude, self._token)
            self._started.set()
            await stop.wait()
