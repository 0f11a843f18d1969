"""A failure of Claude's API reaches the client as what it is, once, and costs no more calls than it must.

The stand-in refuses, breaks off and talks nonsense; the bundled CLI makes of it what it does; the client sees OpenAI's
error objects.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.standin.script import Piece, UpstreamErrorEvent
from claude_openai.testing import (
    API_ERROR,
    AUTHENTICATION_ERROR,
    NOT_FOUND_ERROR,
    OVERLOADED_ERROR,
    PERMISSION_ERROR,
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    REQUEST_TOO_LARGE,
    Answer,
    Cut,
    Garbage,
    HttpError,
    Pause,
    Reply,
    Text,
)
from tests.http_client import texts
from tests.openai_schema import validate
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving

pytestmark = needs_claude

HISTORY = [{"role": ("user", "assistant")[number % 2], "content": f"{number} " * 2_000} for number in range(21)]


@dataclass(frozen=True)
class Told:
    """The error that a client gets.

    Attributes:
        says: words of the message.
        calls: the most calls that may be made upstream.
        retry_after: seconds in the header, which the CLI may lengthen by some; None for no header.
        may_retry: False for `x-should-retry: false`.
    """

    status: int
    type: str
    code: str | None
    says: str
    calls: int = 1
    param: str | None = None
    retry_after: range | None = None
    may_retry: bool = True


LOGIN = " auth login`"

refusals = [
    pytest.param(
        AUTHENTICATION_ERROR,
        Told(403, "authentication_error", "upstream_authentication_error", LOGIN, may_retry=False),
        id="401",
    ),
    pytest.param(
        PERMISSION_ERROR,
        Told(403, "authentication_error", "upstream_authentication_error", "403", may_retry=False),
        id="403",
    ),
    pytest.param(
        RATE_LIMIT_ERROR.with_headers(retry_after="7"),
        Told(429, "rate_limit_error", "rate_limit_exceeded", "rate limit", retry_after=range(7, 11)),
        id="429 with a wait",
    ),
    pytest.param(
        HttpError(429, "rate_limit_error", "Slow down."),
        Told(429, "rate_limit_error", "rate_limit_exceeded", "rate limit", retry_after=range(1, 3)),
        id="429 without",
    ),
    # The CLI does not say how long, only that it will not wait.
    pytest.param(
        RATE_LIMIT_ERROR.with_headers(retry_after="3600"),
        Told(429, "rate_limit_error", "rate_limit_exceeded", "rate limit", retry_after=range(5, 6)),
        id="429 with a long wait",
    ),
    # The CLI asks again without what the service may not know yet; a refusal costs nothing.
    pytest.param(
        HttpError(400, "invalid_request_error", "nonsense: Extra inputs"),
        Told(400, "invalid_request_error", None, "nonsense: Extra inputs", calls=3),
        id="400",
    ),
    pytest.param(
        PROMPT_TOO_LONG,
        Told(400, "invalid_request_error", "context_length_exceeded", "prompt is too long", param="messages"),
        id="a prompt that is too long",
    ),
    pytest.param(
        NOT_FOUND_ERROR,
        Told(404, "invalid_request_error", "model_not_found", "model", calls=2, param="model"),
        id="404",
    ),
    pytest.param(REQUEST_TOO_LARGE, Told(413, "invalid_request_error", "request_too_large", "too large"), id="413"),
    pytest.param(
        API_ERROR, Told(502, "upstream_error", "upstream_error", "500 Internal server error", calls=3), id="500"
    ),
    pytest.param(
        OVERLOADED_ERROR,
        Told(
            503,
            "service_unavailable_error",
            "server_is_overloaded",
            "overloaded",
            calls=3,
            retry_after=range(5, 6),
        ),
        id="529",
    ),
    pytest.param(
        HttpError(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
        Told(429, "insufficient_quota", "insufficient_quota", "billing", may_retry=False),
        id="no credit",
    ),
]


def check(error: dict[str, Any], told: Told) -> None:
    validate("ErrorResponse", error)
    found = error["error"]
    assert (found["type"], found["code"], found["param"]) == (told.type, told.code, told.param)
    assert told.says in found["message"]


async def refused(served: Served, told: Told, messages: Any = "Hi", **fields: Any) -> None:
    """Ask and be refused, before a stream begins too."""
    async with Call.open(served.url, chat(messages, **fields)) as call:
        status, error = await call.answer()
    assert status == told.status, error
    check(error, told)
    assert ("retry-after" in call.headers) == (told.retry_after is not None)
    assert told.retry_after is None or int(call.headers["retry-after"]) in told.retry_after
    assert call.headers.get("x-should-retry", "true") == ("true" if told.may_retry else "false")
    assert call.headers["content-type"] == "application/json"


async def claude_refuses(folder: Path, backend: str, reply: Answer, told: Told) -> None:
    async with serving(folder, reply, backend=backend) as served:
        async with trio.open_nursery() as nursery:  # both at once: the CLI waits between its tries
            for stream in (False, True):
                nursery.start_soon(partial(refused, served, told, stream=stream))
        assert 2 <= len(served.api.requests) <= 2 * told.calls


@pytest.mark.long
@pytest.mark.parametrize(("reply", "told"), refusals)
async def test_a_refusal_of_claudes_is_the_clients_status(tmp_path: Path, reply: Answer, told: Told) -> None:
    await claude_refuses(tmp_path, "sdk", reply, told)


# One for each kind of record that reports a refusal.
OF_EACH_KIND = ("401", "429 with a wait", "a prompt that is too long", "529")


@pytest.mark.long
@pytest.mark.parametrize(("reply", "told"), [case for case in refusals if case.id in OF_EACH_KIND])
async def test_a_refusal_is_the_same_without_the_sdk(tmp_path: Path, reply: Answer, told: Told) -> None:
    await claude_refuses(tmp_path, "cli", reply, told)


@pytest.mark.long
async def test_a_history_that_is_too_long_is_not_compacted(tmp_path: Path) -> None:
    told = Told(400, "invalid_request_error", "context_length_exceeded", "prompt is too long", param="messages")
    async with serving(tmp_path, PROMPT_TOO_LONG) as served:
        await refused(served, told, HISTORY)
        assert len(served.api.requests) == 1


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of our own on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
async def test_claude_out_of_reach_is_an_upstream_error(tmp_path: Path, stream: bool) -> None:
    with closed_port() as port:
        async with serving(tmp_path, extra_env={"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"}) as served:
            await refused(served, Told(502, "upstream_error", "upstream_error", "API Error"), stream=stream)


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
@on_both_backends
async def test_a_missing_login_says_what_to_run(tmp_path: Path, backend: str, stream: bool) -> None:
    told = Told(403, "authentication_error", "upstream_authentication_error", LOGIN, may_retry=False)
    async with serving(tmp_path, extra_env={"ANTHROPIC_API_KEY": ""}, backend=backend) as served:
        await refused(served, told, stream=stream)
        assert served.api.requests == []


interrupted_error = [
    pytest.param(UpstreamErrorEvent(), "it is too busy", id="an error event"),
    pytest.param(UpstreamErrorEvent("api_error", "Internal server error"), "log says why", id="another one"),
    pytest.param(Cut(), "stream of its API ended", id="a closed connection"),
    pytest.param(Cut(reset=True), "stream of its API ended", id="a reset connection"),
]


@pytest.mark.long
@pytest.mark.parametrize(("interruption", "says"), interrupted_error)
@on_both_backends
async def test_an_answer_that_breaks_off_ends_with_an_error_and_is_not_asked_again(
    tmp_path: Path, backend: str, interruption: Piece, says: str
) -> None:
    heard = trio.Event()
    reply = Reply(Text("one", " two", Pause(heard), interruption))
    async with (
        serving(tmp_path, reply, backend=backend) as served,
        Call.open(served.url, chat("Hi", stream=True)) as call,
    ):
        assert await call.status() == 200
        await call.until_text(" two")
        heard.set()
        error, done = await call.events()
        assert isinstance(error, dict)
        check(error, Told(200, "upstream_error", "upstream_error", says))
        assert done == "[DONE]"
        await served.processes.wait_no_claude()
        assert len(served.api.requests) == 1


@pytest.mark.parametrize(("interruption", "says"), interrupted_error[:2])
async def test_an_answer_that_breaks_off_unstreamed_is_no_answer(
    tmp_path: Path, interruption: Piece, says: str
) -> None:
    async with serving(tmp_path, Reply(Text("one", interruption))) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            status, error = await call.answer()
        assert (status, call.headers["x-should-retry"]) == (502, "false")
        check(error, Told(502, "upstream_error", "upstream_error", says))
        await served.processes.wait_no_claude()
        assert len(served.api.requests) == 1


async def test_nonsense_between_the_deltas_harms_none_of_them(tmp_path: Path) -> None:
    nonsense = (Garbage(b"data: {nonsense\n\n"), Garbage(b"\x00\xff\n\nevent: nonsense\ndata: 7\n\n"))
    reply = Reply(Text("one", nonsense[0], " two", nonsense[1], " three"))
    async with serving(tmp_path, reply) as served, Call.open(served.url, chat("Hi", stream=True)) as call:
        assert await call.status() == 200
        *events, last, done = await call.events()
        assert texts(events) == ["one", " two", " three"]
        assert isinstance(last, dict)
        assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
        assert len(served.api.requests) == 1


@pytest.mark.long
async def test_a_failed_turn_does_not_spoil_the_next(tmp_path: Path) -> None:
    async with serving(tmp_path, max_concurrency=1) as served:
        served.api.enqueue(API_ERROR.with_headers(x_should_retry="false"), Reply(Text("one", UpstreamErrorEvent())))
        for expected in (502, 502, 200):
            async with Call.open(served.url, chat("Hi")) as call:
                assert await call.status() == expected
