"""What becomes of a connection: closed when it was asked for, kept when not, never a danger to the others."""

import re
from typing import Any

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.testing import Hang, Pause, full_turn
from tests.http_client import texts
from tests.memory.client import Answer
from tests.memory.harness import Server, chat, serving

BODY = b'{"model":"claude","stream":%s,"messages":[{"role":"user","content":"Hi"}]}'


def raw(method: str, path: str, *headers: str, version: str = "1.1", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost:8000", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def requests(*headers: str, version: str) -> list[bytes]:
    """One of each kind: short, streamed, whole, refused, failed."""
    return [
        raw("GET", "/health", *headers, version=version),
        raw("POST", "/v1/chat/completions", *headers, version=version, body=BODY % b"true"),
        raw("POST", "/v1/chat/completions", *headers, version=version, body=BODY % b"false"),
        raw("GET", "/nope", *headers, version=version),
        raw("POST", "/v1/chat/completions", *headers, version=version, body=b"{"),
    ]


@pytest.mark.parametrize(
    ("version", "headers"), [("1.1", ["Connection: close"]), ("1.0", []), ("1.0", ["Accept: */*"])]
)
async def test_a_connection_that_is_to_close_is_closed_right_after_the_answer(version: str, headers: list[str]) -> None:
    async with serving() as server:
        for request in requests(*headers, version=version) * 8:
            client = server.connect()
            await client.send_raw(request)
            assert (await client.raw_to_end()).startswith(b"HTTP/1.1 ")
            assert trio.current_time() == 0


async def test_http_1_0_gets_a_stream_without_chunks_that_ends_with_the_connection() -> None:
    async with serving() as server:
        client = server.connect()
        await client.send_raw(requests(version="1.0")[1])
        head, _, body = (await client.raw_to_end()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body.startswith(b"data: ")
        assert body.endswith(b"data: [DONE]\n\n")


async def test_one_connection_serves_many_requests_one_after_the_other() -> None:
    async with serving() as server:
        client = server.connect()
        for _ in range(10):
            await client.post(chat())
            assert (await client.answer()).status == 200
            await client.post(chat(stream=True))
            assert texts((await client.answer()).events()) == ["ok"]
            await client.send("GET", "/nope")
            assert (await client.answer()).status == 404
        assert len(server.nursery.child_tasks) == 1


async def test_requests_sent_without_waiting_are_answered_in_order() -> None:
    async with serving(full_turn(Pause(1), "ok")) as server:
        client = server.connect()
        await client.send_raw(requests(version="1.1")[2] + raw("GET", "/v1/models", "Connection: close"))
        answers = await client.raw_to_end()
        assert 0 < answers.index(b'"chat.completion"') < answers.index(b'"list"')


@pytest.mark.parametrize("requests_before", [0, 1])
async def test_an_idle_connection_is_closed_after_its_time(requests_before: int) -> None:
    async with serving(idle_connection_ms=75_000) as server:
        client = server.connect()
        for _ in range(requests_before):
            await trio.sleep(10)
            await client.send("GET", "/health")
            await client.answer()
        assert await client.raw_to_end() == b""
        assert trio.current_time() == 75 + 10 * requests_before


async def test_a_connection_with_a_turn_under_way_is_not_idle() -> None:
    async with serving(full_turn("Hel", Pause(100), "lo"), idle_connection_ms=5_000) as server:
        client = await server.streaming()
        assert texts(await client.events()) == ["Hel", "lo"]


@pytest.mark.parametrize("requests_before", [0, 1])
async def test_nothing_is_left_of_a_client_that_leaves_an_idle_connection(requests_before: int) -> None:
    async with serving(idle_connection_ms=75_000) as server:
        client = server.connect()
        for _ in range(requests_before):
            await client.post(chat(stream=True))
            await client.answer()
        await wait_all_tasks_blocked()
        client.leave()
        await wait_all_tasks_blocked()
        assert not server.nursery.child_tasks
        assert trio.current_time() == 0


async def test_when_the_server_stops_idle_connections_go_at_once_and_busy_ones_a_second_later() -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        idle = server.connect()
        await idle.send("GET", "/health")
        await idle.answer()
        busy = await server.streaming()
        await busy.until_text("Hel")
        server.nursery.start_soon(server.connections.close, server.nursery)
        assert await idle.raw_to_end() == b""
        assert trio.current_time() == 0
        with pytest.raises(h11.RemoteProtocolError):
            await busy.events()
        assert trio.current_time() == 1


@pytest.mark.parametrize("crash", ["cancel in the start", "raise in the start", "raise in the body"])
async def test_a_connection_that_breaks_takes_nothing_else_down(crash: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/health":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        with trio.CancelScope() as sending:
            if crash == "cancel in the start":
                sending.cancel()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if crash == "raise in the start":
                raise ValueError("broken")
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            raise ValueError("broken")

    expected = ["http.connection_crashed"] if crash == "cancel in the start" else []
    async with serving(app=app, expected_errors=expected) as server:
        other = server.connect()
        await other.send("GET", "/health")
        assert (await other.answer()).status == 200
        broken = server.connect()
        await broken.send("GET", "/")
        assert b"\r\n0\r\n\r\n" not in await broken.raw_to_end()
        await other.send("GET", "/health")
        assert (await other.answer()).status == 200


async def test_a_client_that_waits_for_100_continue_gets_it_and_then_its_answer() -> None:
    async with serving() as server:
        client = server.connect()
        request = raw("POST", "/v1/chat/completions", "Expect: 100-continue", "Connection: close", body=BODY % b"false")
        head, _, body = request.partition(b"\r\n\r\n")
        await client.send_raw(head + b"\r\n\r\n")
        await wait_all_tasks_blocked()
        await client.send_raw(body)
        first, _, second = (await client.raw_to_end()).partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 100 ")
        assert second.startswith(b"HTTP/1.1 200 ")


async def upgrade(server: Server, *headers: str) -> bytes:
    client = server.connect()
    await client.send_raw(raw("GET", "/v1/models", "Connection: upgrade", *headers))
    await wait_all_tasks_blocked()
    client.half_close()
    return await client.raw_to_end()


def unread(server: Server, response: bytes, status: int) -> dict[str, Any]:
    """The error object of an answer that the app never saw; its id is in the log."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    answer = Answer(status, headers, body)
    (record,) = server.logged("http.error")
    assert (record["request_id"], record["status"]) == (headers["x-request-id"], status)
    return answer.error()


async def test_a_websocket_is_refused() -> None:
    async with serving() as server:
        key = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        error = unread(server, await upgrade(server, *key), 403)
        assert "server-sent events" in error["message"]


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET /\r\n\r\n"])
async def test_what_is_not_http_is_told_so_and_closed(garbage: bytes) -> None:
    async with serving() as server:
        client = server.connect()
        await client.send_raw(garbage + b"\r\n\r\n")
        error = unread(server, await client.raw_to_end(), 400)
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_http")
        assert trio.current_time() == 0


async def test_headers_that_are_too_long_are_told_so() -> None:
    async with serving() as server:
        client = server.connect()
        await client.send_raw(b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 200_000)
        assert unread(server, await client.raw_to_end(), 431)["code"] == "headers_too_long"


async def test_an_offer_to_speak_http_2_is_ignored() -> None:
    async with serving() as server:
        client = server.connect()
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
        await client.send_raw(raw("GET", "/health", *offer) + raw("GET", "/health", "Connection: close"))
        assert re.findall(rb"HTTP/1\.1 (\d+)", await client.raw_to_end()) == [b"200", b"200"]


async def test_who_speaks_http_2_without_asking_is_answered_in_http_1() -> None:
    async with serving() as server:
        client = server.connect()
        await client.send_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        answer = await client.raw_to_end()
        assert answer.startswith(b"HTTP/1.1 4")
