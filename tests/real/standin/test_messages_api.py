"""The stand-in over real sockets: its faults against an h11 client, its messages against the bundled CLI."""

import json
import os
import signal
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import h11
import pytest
import trio

from claude_openai.standin.demo import demo_reply
from claude_openai.standin.script import UpstreamErrorEvent
from claude_openai.testing import (
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    Answer,
    Cut,
    Garbage,
    Hang,
    MessagesApi,
    Pause,
    RecordedRequest,
    Reply,
    Script,
    Text,
    Thinking,
    Usage,
)
from tests.conditions import bundled_claude, needs

LIMIT_S = 60
CLI_LIMIT_S = 90

OK = Reply("ok")

Headers: TypeAlias = list[tuple[str, str]]


@asynccontextmanager
async def stand_in(reply: Script | Answer = OK, limit_s: float = LIMIT_S) -> AsyncIterator[MessagesApi]:
    with trio.fail_after(limit_s):
        async with MessagesApi.serving(reply) as api:
            yield api


class Client:
    """One connection to the stand-in, read event by event."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, method: str, target: str, *body: bytes, headers: Headers | None = None) -> None:
        """Send a request; a body in several pieces goes out chunked."""
        framing = (
            [("transfer-encoding", "chunked")] if len(body) > 1 else [("content-length", str(len(b"".join(body))))]
        )
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        request = h11.Request(method=method, target=target, headers=[("host", "x"), *framing, *(headers or [])])
        data = self.http.send(request)
        for piece in body:
            data = (data or b"") + (self.http.send(h11.Data(data=piece)) or b"")
        await self.stream.send_all((data or b"") + (self.http.send(h11.EndOfMessage()) or b""))

    async def ask(self, *, stream: bool = True, text: str = "Hi", headers: Headers | None = None) -> None:
        """Send a message request."""
        body = {"model": "claude-sonnet-5", "stream": stream, "messages": [{"role": "user", "content": text}]}
        await self.send("POST", "/v1/messages?beta=true", json.dumps(body).encode(), headers=headers)

    async def event(self) -> Any:
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(await self.stream.receive_some())

    async def head(self) -> h11.Response:
        response = await self.event()
        assert isinstance(response, h11.Response)
        return response

    async def read_until(self, end: bytes) -> bytes:
        body = b""
        while end not in body:
            event = await self.event()
            assert isinstance(event, h11.Data), body
            body += event.data
        return body

    async def rest(self) -> bytes:
        body = bytearray()
        while not isinstance(event := await self.event(), h11.EndOfMessage):
            body += event.data
        return bytes(body)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        response = await self.head()
        headers = {name.decode(): value.decode() for name, value in response.headers}
        return response.status_code, headers, await self.rest()


@asynccontextmanager
async def connected(api: MessagesApi) -> AsyncIterator[Client]:
    port = int(api.base_url.rpartition(":")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Client(stream)


def deltas(body: bytes) -> list[str]:
    lines = [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [line["delta"]["text"] for line in lines if line["type"] == "content_block_delta"]


async def test_a_streamed_message_is_recorded_and_arrives_delta_by_delta() -> None:
    async with stand_in(Reply(Text("Hel", "lo"))) as api, connected(api) as client:
        await client.ask(text="Say hello", headers=[("X-Twice", "1"), ("X-Twice", "2")])
        status, headers, body = await client.answer()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert deltas(body) == ["Hel", "lo"]
        (request,) = api.requests
        await request.ended.wait()
        assert request.finished.is_set()
        assert not request.disconnected.is_set()
        assert api.active == 0
        assert (request.path, request.query, request.headers["x-twice"]) == ("/v1/messages", "beta=true", "1, 2")
        assert (request.model, request.last_user_text) == ("claude-sonnet-5", "Say hello")


async def test_one_connection_serves_many_requests_of_every_kind() -> None:
    async with stand_in() as api, connected(api) as client:
        seen = []
        for method, target, body in [
            ("HEAD", "/", [b""]),
            ("HEAD", "/api/hello", [b""]),
            ("GET", "/v1/models", [b""]),
            (
                "POST",
                "/v1/messages/count_tokens",
                [b'{"messages": [{"role": "user", ', b'"content": "four words in all"}]}'],
            ),
            ("POST", "/v1/messages", [b'{"model": "m", "messages"', b': [{"role": "user", "content": "Hi"}]}']),
            ("POST", "/v1/messages", [b"[]"]),
        ]:
            await client.send(method, target, *body)
            status, _, answer = await client.answer()
            seen.append((status, json.loads(answer or b"null")))
        assert [status for status, _ in seen] == [200, 200, 404, 200, 200, 400]
        assert seen[2][1]["error"]["type"] == "not_found_error"
        assert seen[3][1] == {"input_tokens": 4}
        assert seen[4][1]["content"] == [{"type": "text", "text": "ok"}]
        assert seen[5][1]["error"]["type"] == "invalid_request_error"
        assert [request.body for request in api.requests] == [
            {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        ]
        assert len(api.all_requests) == len(seen)


async def test_answers_have_ids_of_their_own() -> None:
    async with stand_in() as api, connected(api) as client:
        ids = set()
        for _ in range(3):
            await client.ask(stream=False)
            ids.add(json.loads((await client.answer())[2])["id"])
        assert len(ids) == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
    request = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%s\r\n" % (len(body), b"%s")
    async with stand_in(lambda request: Reply(str(len(api.requests)))) as api, connected(api) as client:
        await client.stream.send_all(request % b"" + body + request % b"connection: close\r\n" + body)
        received = b"".join([data async for data in client.stream])
        assert received.index(b'"text": "1"') < received.index(b'"text": "2"')


async def test_client_that_expects_100_continue_gets_it() -> None:
    async with stand_in() as api, connected(api) as client:
        body = b'{"messages":[{"role":"user","content":"Hi"}]}'
        head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        await client.stream.send_all(head % len(body))
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.stream.send_all(body)
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_enqueued_answers_go_before_the_script() -> None:
    async with stand_in(Reply("default")) as api, connected(api) as client:
        api.enqueue(RATE_LIMIT_ERROR.with_headers(retry_after="7"), Reply("queued"))
        await client.ask()
        status, headers, body = await client.answer()
        assert (status, headers["retry-after"]) == (429, "7")
        assert json.loads(body)["error"]["type"] == "rate_limit_error"
        for text in ("queued", "default"):
            await client.ask()
            assert deltas((await client.answer())[2]) == [text]


async def test_what_the_api_would_refuse_is_refused_and_uses_up_no_answer() -> None:
    async with stand_in() as api, connected(api) as client:
        api.enqueue(Reply("queued"))
        await client.ask(text=" ")
        status, _, body = await client.answer()
        assert status == 400
        assert json.loads(body)["error"] == {"type": "invalid_request_error", "message": api.refused[0]}
        assert [request.last_user_text for request in api.requests] == [" "]
        await client.ask()
        assert deltas((await client.answer())[2]) == ["queued"]
        assert len(api.refused) == 1


async def test_lenient_stand_in_answers_every_request() -> None:
    with trio.fail_after(LIMIT_S):
        async with MessagesApi.serving(OK, strict=False) as api, connected(api) as client:
            await client.ask(text=" ")
            assert deltas((await client.answer())[2]) == ["ok"]
            assert api.refused == []


async def test_a_pause_holds_back_what_follows_and_nothing_else() -> None:
    gate = trio.Event()
    async with stand_in(Reply(Text("one", Pause(gate), "two"))) as api, connected(api) as client:
        await client.ask()
        await client.head()
        before = await client.read_until(b'"one"')
        assert b'"two"' not in before
        assert api.active == 1
        assert not api.requests[0].ended.is_set()
        gate.set()
        assert deltas(await client.rest()) == ["two"]


async def test_a_cut_comes_after_all_that_was_sent_before_it() -> None:
    async with stand_in(Reply(Text("one", Cut(), "two"))) as api, connected(api) as client:
        await client.ask()
        await client.head()
        await client.read_until(b'"one"')
        with pytest.raises(h11.RemoteProtocolError):
            await client.rest()
        (request,) = api.requests
        await request.ended.wait()
        assert not request.finished.is_set()
        assert not request.disconnected.is_set()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_before_the_headers_leaves_no_answer_at_all(stream: bool) -> None:
    async with stand_in(Reply("never", before_headers=[Cut()])) as api, connected(api) as client:
        await client.ask(stream=stream)
        assert await client.stream.receive_some() == b""


async def test_a_cut_may_reset_the_connection() -> None:
    gate = trio.Event()
    async with stand_in(Reply(Text("one", Pause(gate), Cut(reset=True)))) as api, connected(api) as client:
        await client.ask()
        await client.head()
        await client.read_until(b'"one"')
        gate.set()
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.receive_some()


async def test_garbage_and_an_error_event_reach_the_client_in_a_well_framed_stream() -> None:
    reply = Reply(Text("one", Garbage(b"\x00\xff"), UpstreamErrorEvent()))
    async with stand_in(reply) as api, connected(api) as client:
        await client.ask()
        status, _, body = await client.answer()
        assert status == 200
        assert b"\n\n\x00\xffevent: error\ndata: " in body
        assert b"message_stop" not in body
        await api.requests[0].finished.wait()


endless = Reply("x" * 20_000_000)  # far beyond what socket buffers hold
unanswered = [
    pytest.param(Reply(Text("one", Hang())), id="a hang"),
    pytest.param(Reply(Text("one", Pause(trio.Event()))), id="a pause"),
    pytest.param(Reply(before_headers=[Hang()]), id="a hang before the headers"),
    pytest.param(endless, id="a send that blocks"),
]


async def leave(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


@pytest.mark.parametrize("go", [leave, reset])
@pytest.mark.parametrize("reply", unanswered)
async def test_a_client_that_goes_away_is_noticed_in_silence(
    reply: Answer, go: Callable[[trio.SocketStream], Awaitable[None]]
) -> None:
    async with stand_in(reply) as api, connected(api) as client:
        await client.ask()
        request = await api.wait_for_request()
        assert api.active == 1
        await go(client.stream)
        await request.disconnected.wait()
        assert not request.finished.is_set()
        assert request.ended.is_set()
        assert api.active == 0
        async with connected(api) as another:
            await another.send("HEAD", "/")
            assert (await another.answer())[0] == 200


@pytest.mark.parametrize(
    "start",
    [b"", b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{", b"\x16\x03\x01 hello\r\n\r\n"],
)
async def test_incomplete_request_does_not_affect_others(start: bytes) -> None:
    async with stand_in() as api, connected(api) as client, connected(api) as another:
        if start:
            await client.stream.send_all(start)
        await client.stream.send_eof()
        assert (await client.stream.receive_some())[:12] in (b"", b"HTTP/1.1 400")
        await another.ask()
        assert deltas((await another.answer())[2]) == ["ok"]
        assert len(api.all_requests) == 1


async def test_wait_for_request_returns_the_nth_as_soon_as_it_has_come() -> None:
    async with stand_in() as api, trio.open_nursery() as nursery:
        waited: list[RecordedRequest] = []

        async def wait() -> None:
            waited.append(await api.wait_for_request(2))

        nursery.start_soon(wait)
        for text in ("first", "second"):
            async with connected(api) as client:
                await client.ask(text=text)
                await client.answer()
        assert (await api.wait_for_request()).last_user_text == "first"
    assert [request.last_user_text for request in waited] == ["second"]


async def test_cancelling_it_drops_every_connection_at_once() -> None:
    api = MessagesApi(Reply(Text("one", Hang())))
    with trio.fail_after(LIMIT_S):
        async with AsyncExitStack() as clients:
            async with trio.open_nursery() as nursery:
                assert await nursery.start(api.serve) == api.base_url
                client = await clients.enter_async_context(connected(api))
                await client.ask()
                await client.head()
                await client.read_until(b'"one"')
                nursery.cancel_scope.cancel()
            with pytest.raises(h11.RemoteProtocolError):
                await client.rest()
        (request,) = api.requests
        assert request.ended.is_set()
        assert not request.finished.is_set()
        assert not request.disconnected.is_set()
        assert api.active == 0
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", int(api.base_url.rpartition(":")[2]))


def failing(request: RecordedRequest) -> Answer:
    raise LookupError(request.last_user_text)


def mistaken(request: RecordedRequest) -> Any:
    return request.last_user_text


@pytest.mark.parametrize(("script", "error"), [(failing, LookupError), (mistaken, TypeError)])
async def test_failing_script_is_an_error_for_client_and_test(script: Script, error: type[Exception]) -> None:
    status = 0
    headers: dict[str, str] = {}
    api = MessagesApi(script)
    with trio.fail_after(LIMIT_S), pytest.RaisesGroup(pytest.RaisesExc(error, match="oops"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(api.serve)
            with trio.CancelScope(shield=True):
                async with connected(api) as client:
                    await client.ask(text="oops")
                    status, headers, _ = await client.answer()
            await trio.sleep_forever()
    assert (status, headers["x-should-retry"]) == (500, "false")
    assert [type(each) for each in api.errors] == [error]


def test_there_is_no_address_before_it_serves() -> None:
    with pytest.raises(RuntimeError, match="before serve"):
        _ = MessagesApi().base_url


async def test_a_hundred_thousand_deltas_arrive_as_a_hundred_thousand_events() -> None:
    async with stand_in(Reply(Text(*["tok "] * 100_000))) as api, connected(api) as client:
        await client.ask()
        _, _, body = await client.answer()
        assert body.count(b'\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,') == 100_000
        assert body.count(b'"text":"tok "}}\n\n') == 100_000


CLI = bundled_claude()
needs_cli = needs("claude")


class Cli:
    """The real CLI, one turn of it, in a home of its own."""

    def __init__(self, home: Path, api: MessagesApi) -> None:
        flags = "-p --output-format stream-json --verbose --include-partial-messages --setting-sources="
        self.command = [str(CLI), *flags.split(), "--no-session-persistence", "--tools", ""]
        self.options: dict[str, Any] = {
            "cwd": home,
            "env": {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "CLAUDE_CONFIG_DIR": str(home / "config"),
                "ANTHROPIC_BASE_URL": api.base_url,
                "ANTHROPIC_API_KEY": "x",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            },
        }

    async def turn(self, prompt: str) -> list[dict[str, Any]]:
        """The records of a whole turn."""
        done = await trio.run_process(
            self.command, stdin=prompt.encode(), capture_stdout=True, check=False, **self.options
        )
        return [json.loads(line) for line in done.stdout.splitlines()]


def cli_deltas(records: list[dict[str, Any]], kind: str) -> list[str]:
    events = [record["event"] for record in records if record["type"] == "stream_event"]
    found = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return [delta[kind] for delta in found if kind in delta]


@needs_cli
async def test_the_cli_streams_text_and_thinking_and_asks_once(tmp_path: Path) -> None:
    usage = Usage(11, 7, cache_read_input_tokens=3, cache_creation_input_tokens=2, thinking_tokens=4)
    reply = Reply(Thinking("Let me", " think."), Text("Hel", "lo ", "\N{WAVING HAND SIGN}"), usage=usage)
    async with stand_in(reply, CLI_LIMIT_S) as api:
        records = await Cli(tmp_path, api).turn("Say hello")
        assert cli_deltas(records, "thinking") == ["Let me", " think."]
        assert cli_deltas(records, "text") == ["Hel", "lo ", "\N{WAVING HAND SIGN}"]
        result = records[-1]
        assert (result["type"], result["is_error"], result["result"]) == ("result", False, "Hello \N{WAVING HAND SIGN}")
        assert result["usage"].items() >= {"input_tokens": 11, "output_tokens": 7}.items()
        assert result["usage"]["cache_read_input_tokens"] == 3
        assert result["usage"]["output_tokens_details"] == {"thinking_tokens": 4}
        (request,) = api.requests
        assert request.last_user_text == "Say hello"
        assert request.tools == []
        assert request.headers["x-api-key"] == "x"
        await request.finished.wait()


@needs_cli
async def test_a_refusal_is_the_status_the_cli_reports(tmp_path: Path) -> None:
    async with stand_in(PROMPT_TOO_LONG, CLI_LIMIT_S) as api:
        *_, result = await Cli(tmp_path, api).turn("Say hello")
        assert (result["type"], result["is_error"], result["api_error_status"]) == ("result", True, 400)
        assert len(api.requests) == 1


@pytest.mark.long
@needs_cli
async def test_the_demo_answers_through_the_cli(tmp_path: Path) -> None:
    async with stand_in(demo_reply, CLI_LIMIT_S) as api:
        records = await Cli(tmp_path, api).turn("What is this?")
        assert len(cli_deltas(records, "text")) > 20
        assert records[-1]["result"].startswith("[demo] ")
        assert "You said: What is this?" in records[-1]["result"]


@needs_cli
async def test_killing_the_cli_in_the_middle_of_its_answer_is_noticed(tmp_path: Path) -> None:
    async with stand_in(Reply(Text("half an ans", Hang())), CLI_LIMIT_S) as api, trio.open_nursery() as nursery:
        cli = Cli(tmp_path, api)

        async def start(task_status: trio.TaskStatus[trio.Process]) -> None:
            await trio.run_process(
                cli.command, stdin=b"Hi", stdout=subprocess.PIPE, check=False, task_status=task_status, **cli.options
            )

        process: trio.Process = await nursery.start(start)
        request = await api.wait_for_request()
        assert process.stdout is not None
        printed = b""
        while b"half an ans" not in printed:
            data = await process.stdout.receive_some()
            assert data, printed
            printed += data
        assert not request.disconnected.is_set()
        process.send_signal(signal.SIGKILL)
        await request.disconnected.wait()
        assert api.active == 0


async def test_stand_in_without_memory_keeps_no_request() -> None:
    with trio.fail_after(LIMIT_S):
        async with MessagesApi.serving(OK, remember=False) as api, connected(api) as client:
            for _ in range(2):
                await client.ask()
                status, _, body = await client.answer()
                assert (status, deltas(body)) == (200, ["ok"])
            assert (api.requests, api.all_requests) == ([], [])
