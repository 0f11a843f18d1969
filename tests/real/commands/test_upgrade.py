"""What `pip install` of another version does to a server that runs: nothing, until it is started again."""

import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import claude_openai
from claude_openai.claude.process import program as program_module
from claude_openai.preload import NEEDED_LATER
from claude_openai.testing import (
    AUTHENTICATION_ERROR,
    OVERLOADED_ERROR,
    Answer,
    Hang,
    RecordedRequest,
    Reply,
    Text,
    Thinking,
    ToolUse,
)
from tests.pictures import PNG
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import needs_claude, on_both_backends, serving, until

pytestmark = [needs_claude, pytest.mark.long]

# Runs in the server's interpreter, before anything of ours.
RECORDER = """
import os, sys

class Recorder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        with open(os.environ["RECORDED"], "a") as file:
            file.write(f"{os.getpid()} {name}\\n")

if sys.argv[-1:] != ["-c"]:
    sys.meta_path.insert(0, Recorder)
"""

LOOK = {"type": "function", "function": {"name": "look", "parameters": {
    "type": "object",
    "properties": {"at": {"type": "string", "format": "date-time", "pattern": "^2"}, "x": {"$ref": "#/$defs/x"}},
    "$defs": {"x": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
}}}  # fmt: skip
FORM = {"type": "json_schema", "json_schema": {"name": "f", "schema": {
    "type": "object", "properties": {"a": {"type": "string", "format": "uri"}}, "required": ["a"]}}}  # fmt: skip
DRAFTS = [f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 6, 7)]
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()

UNREADABLE = (
    b"GET /health HTTP/1.1\r\nHost: a..localhost\r\n\r\n",
    b"GET ?x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xc3\xa4.localhost\r\n\r\n",
    b"OPTIONS /v1/models HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
)


def answer(request: RecordedRequest) -> Answer:
    """As the last words ask for."""
    last = json.dumps([message["content"] for message in request.messages if message["role"] == "user"][-1])
    if "OVERLOADED" in last:
        return OVERLOADED_ERROR.with_headers(x_should_retry="false")
    if "LOGIN" in last:
        return AUTHENTICATION_ERROR
    if "HANG" in last:
        return Reply(Text("one", Hang()))
    if "LOOK" in last and "tool_result" not in last:
        return Reply(ToolUse("mcp__openai__look", {"at": "2024-01-01T00:00:00Z"}, "toolu_1"))
    if "StructuredOutput" in [tool["name"] for tool in request.body.get("tools", ())]:
        return Reply(ToolUse("StructuredOutput", {"a": "http://x"}, "toolu_2"))
    return Reply(Thinking("hm"), Text("one", " two"))


async def ask(url: str, body: dict[str, Any] | None, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    async with Call.open(url, body, path, **headers) as call:
        await call.status()
        return await call.body()


async def send(url: str, raw: bytes) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(raw)
        await stream.send_eof()
        while await stream.receive_some():
            pass


def conversation(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[index % 2], "content": each} for index, each in enumerate(contents)]


@asynccontextmanager
async def recorded(folder: Path, *flags: str) -> AsyncIterator[tuple[Command, Path]]:
    """The command, and the file with what it imports."""
    library, record = folder / "library", folder / "recorded"
    library.mkdir()
    (library / "sitecustomize.py").write_text(RECORDER)
    path = os.pathsep.join([str(library), str(Path(claude_openai.__file__).parents[1])])
    env = {"PYTHONPATH": path, "RECORDED": str(record)}
    async with running(folder, *flags, reply=answer, env=env) as command:
        yield command, record


def imported_by(command: Command, record: Path) -> list[str]:
    # With the CLI backend the SDK is only looked up, for the program that it brings.
    lines = [line.split() for line in record.read_text().splitlines()]
    return [name for pid, name in lines if int(pid) == command.process.pid and name != "claude_agent_sdk"]


@on_both_backends
async def test_a_server_that_takes_turns_imports_nothing_more(tmp_path: Path, backend: str) -> None:
    async with recorded(tmp_path, "--backend", backend, "--max-idle-sessions", "1") as (command, record):
        await until(lambda: NEEDED_LATER[-1] in imported_by(command, record), "everything is loaded")
        before = len(imported_by(command, record))
        await use_all_of(command, backend)
        command.send(signal.SIGTERM)
        await command.process.wait()
        assert imported_by(command, record)[before:] == []


async def use_all_of(command: Command, backend: str) -> None:
    url = command.url
    key = json.loads((command.temporary / "claude-openai.json").read_text())["control_key"]
    for path in ("/health", "/ready", "/version", "/openapi.json", "/metrics", "/v1/models", "/v1/models/x", "/nope"):
        await ask(url, None, path)
    await ask(url, None, "/metrics", accept="application/openmetrics-text;version=1.0.0")
    await ask(url, None, "/metrics", accept="application/openmetrics-text;version=x")
    await turns(url, backend)
    await refusals(url)
    await failures(command)
    await control(url, key)


async def turns(url: str, backend: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    drafts = [{"name": f"f{index}", "parameters": {"$schema": draft}} for index, draft in enumerate(DRAFTS)]
    chats = [
        chat("Hi", stream=True, stream_options={"include_usage": True}, stop=["two"], max_tokens=9),
        chat("Hi", response_format=FORM, reasoning_effort="low"),
        chat("Hi", response_format={"type": "json_object"}, stream=True),
        chat(conversation("Hi", "Hello", "Again")),
        chat("LOOK", functions=[LOOK["function"]]),
        chat("Hi", claude={"toolMode": "readonly"}, stream=True),
        chat("Hi", tools=[{"type": "function", "function": draft} for draft in drafts]),
        chat([{"role": "user", "content": [{"type": "text", "text": "Hi"}, picture, file]}]),
    ]
    responses = [{"model": "claude", "input": "Hi", "stream": stream} for stream in (False, True)]
    async with trio.open_nursery() as nursery:
        for body in chats if backend == "sdk" else chats[:3]:
            nursery.start_soon(ask, url, body)
        for body in responses:
            nursery.start_soon(ask, url, body, "/v1/responses")
    if backend == "sdk":  # the other has no tools
        message = json.loads(await ask(url, chat("LOOK", tools=[LOOK])))["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "seen"}
        await ask(url, chat([*conversation("LOOK"), message, result], tools=[LOOK]))


async def refusals(url: str) -> None:
    wrong: Sequence[dict[str, Any]] = (
        {}, {"model": "gpt-4o", **chat("Hi")}, chat("Hi", n=2), chat("Hi", tools=[{"type": "function"}]),
        chat("Hi", tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "what"}}}]),
        chat("Hi", response_format={"type": "json_schema", "json_schema": {"name": "f", "schema": {"$ref": "http://x"}}}),
        chat("Hi", claude={"workingDirectory": "/" + "x" * 5000}),
    )  # fmt: skip
    for body in wrong:
        await ask(url, body)
    await ask(url, chat("Hi"), content_type="text/plain")
    await ask(url, chat("Hi"), origin="http://evil.example")
    await ask(url, None, host="evil.example")
    for raw in UNREADABLE:
        await send(url, raw)


async def failures(command: Command) -> None:
    url = command.url
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, url, chat("OVERLOADED"))
        nursery.start_soon(ask, url, chat("LOGIN", stream=True))
    async with Call.open(url, chat("HANG", stream=True)) as call:
        await call.status()
        await call.until_text("one")
        call.leave(reset=True)
    async with Call.open(url, chat("HANG", stream=True)) as call:
        await call.status()
        await call.until_text("one")
        for pid in command.processes.claudes():
            os.kill(pid, signal.SIGKILL)
        await call.events()


async def control(url: str, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    for path in ("/control/status", "/control/runs?limit=2", "/control/runs/run_" + "0" * 24, "/control/runs/x"):
        await ask(url, None, path, **headers)
    await ask(url, None, "/control/runs")
    async with Call.open(url, chat("HANG", stream=True)) as call:
        await call.status()
        await call.until_text("one")
        run = call.headers["x-claude-openai-run"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, url, None, f"/control/runs/{run}/output?follow=1")
            await ask(url, {}, f"/control/runs/{run}/cancel", **headers)
        await call.events()
    await ask(url, None, f"/control/runs/{run}/output", **headers)
    await ask(url, None, f"/control/runs/{run}", **headers)


async def test_a_bundled_claude_that_was_gone_for_a_moment_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled, on_path, away = (tmp_path / name / "claude" for name in ("bundled", "path", "away"))
    away.parent.mkdir()
    for program in (bundled, on_path):
        program.parent.mkdir()
        program.symlink_to(fake_cli(program.parent, ANSWER))
    monkeypatch.setattr(program_module, "_bundled_claude", lambda: bundled if bundled.exists() else None)
    monkeypatch.setenv("PATH", str(on_path.parent), prepend=os.pathsep)
    async with serving(tmp_path, backend="cli") as served:
        for move in (None, (bundled, away), (away, bundled)):
            if move:
                move[0].rename(move[1])
            assert b"one two" in await ask(served.url, chat("Hi"))
        started = [record["argv"][0] for record in await served.logged("adapter.claude_args")]
        assert started == [str(bundled), str(on_path), str(bundled)]
