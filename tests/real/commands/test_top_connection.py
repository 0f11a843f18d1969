"""The live view and servers that answer in other ways than a server of this version."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from claude_openai.commands.instance.control_client import ControlError
from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.record import Instance
from claude_openai.commands.top import connection
from claude_openai.commands.top.connection import cancel_run, follow
from claude_openai.commands.top.driver import Driver
from claude_openai.commands.top.model import Model
from claude_openai.commands.top.terminal import Terminal
from claude_openai.commands.top.view import screen
from claude_openai.errors import StartError, leaves
from tests.real.harness import LIMIT_S
from tests.watched import run_view, snapshot

HEAD: Final = "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
EVENT: Final = 'event: update\ndata: {"runs": []}\n\n'
BROKEN: Final = f"{HEAD.format(200)}Transfer-Encoding: chunked\r\n\r\n{len(EVENT):x}\r\n{EVENT}\r\n"
OTHER_VERSION: Final = "cannot read what the server sends: it is of another version; run `claude-openai restart`"
RUN_ID: Final = run_view(1)["id"]


def whole(status: int, body: str) -> str:
    return f"{HEAD.format(status)}Content-Length: {len(body)}\r\n\r\n{body}"


def error(status: int, message: str) -> str:
    return whole(status, f'{{"error": {{"message": "{message}"}}}}')


def snapshots(data: Mapping[str, Any]) -> str:
    return f"{HEAD.format(200)}\r\nevent: snapshot\ndata: {json.dumps(data)}\n\n"


@asynccontextmanager
async def answering(answer: str, *, stays: bool = False) -> AsyncIterator[tuple[Instance, list[bytes]]]:
    """A server that gives the same answer to all requests; with the requests that it has got.

    Args:
        answer: the bytes that it sends.
        stays: it does not end the connection then.
    """
    requests = []

    async def serve(stream: trio.SocketStream) -> None:
        requests.append(await stream.receive_some())
        await stream.send_all(answer.encode())
        if stays:
            await trio.sleep_forever()
        await stream.aclose()

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            yield (
                Instance(os.getpid(), port, url, "the-key", "1.0", "sdk", 0.0, None, "", (), "/", background=True),
                requests,
            )
            nursery.cancel_scope.cancel()


async def test_events_before_the_connection_breaks_are_taken() -> None:
    taken: list[tuple[str, Mapping[str, Any]]] = []
    async with answering(BROKEN) as (instance, requests):
        with pytest.raises(ControlError, match="the connection to the server was lost"):
            await follow(instance, lambda *event: taken.append(event))
    assert taken == [("update", {"runs": []})]
    assert requests[0].startswith(b"GET /control/watch HTTP/1.1\r\n")
    assert b"Authorization: Bearer the-key\r\n" in requests[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error(409, "It has ended."), "It has ended."),
        (whole(500, "no"), "HTTP status 500"),
        (whole(200, "no"), "cannot read the server's answer"),
        ("", "the connection to the server was lost"),
        ("no HTTP\r\n\r\n", "the connection to the server was lost"),
    ],
)
async def test_cancel_that_fails_has_one_error(answer: str, message: str) -> None:
    async with answering(answer) as (instance, _):
        with pytest.raises(ControlError, match=message):
            await cancel_run(instance, RUN_ID)


async def test_server_that_is_silent_for_too_long_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE_S", 0.01)
    async with answering(BROKEN, stays=True) as (instance, _):
        with pytest.raises(ControlError, match="does not answer in time"):
            await follow(instance, lambda *_: None)


async def test_cancel_returns_the_state_of_the_run() -> None:
    async with answering(whole(200, '{"status": "cancelled"}')) as (instance, requests):
        assert await cancel_run(instance, RUN_ID) == "cancelled"
    assert requests[0].startswith(f"POST /control/runs/{RUN_ID}/cancel HTTP/1.1\r\n".encode())


class NoTerminal(Terminal):
    """Shows nothing and sends no keys."""

    def __init__(self) -> None:
        super().__init__(colours=False)

    def __enter__(self) -> "NoTerminal":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    async def keys(self) -> list[str]:
        await trio.sleep_forever()

    def draw(self, model: Model, now: float) -> None:
        screen(model, 80, 24, now)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error(404, "Unknown URL."), "the server is too old to be watched; run `claude-openai restart`"),
        (error(401, "Wrong key."), "Wrong key."),
        (snapshots({"runs": 5}), OTHER_VERSION),
        (snapshots({"server": "of another kind"}), OTHER_VERSION),
        (snapshots(snapshot(slots={"free": 2})), OTHER_VERSION),
        (snapshots(snapshot(limits=[{}])), OTHER_VERSION),
    ],
)
async def test_server_that_cannot_be_watched_ends_the_command(tmp_path: Path, answer: str, message: str) -> None:
    async with answering(answer) as (instance, _):
        with claiming(tmp_path) as claim:
            claim.publish(instance)
            with pytest.raises(ExceptionGroup) as caught:
                await Driver(tmp_path, NoTerminal()).run()
    (found,) = leaves(caught.value)
    assert isinstance(found, StartError)
    assert str(found) == message
