"""The servers that are measured, each in a process of its own: `python -m tests.benchmarks.servers NAME [ARGUMENT...]`.

Each prints its base URL on a line of its own when it listens, and runs until it is killed.
"""

import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as hypercorn_serve
from quart import Response
from quart_trio import QuartTrio

from claude_openai import Config, serve
from claude_openai.claude.backend import Backend, Emit
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.commands.serve import tune_interpreter
from claude_openai.logs.log import Log
from claude_openai.protocol.openai.chat.chunks import ChunkStream
from claude_openai.protocol.openai.chat.completion import ResponseHead
from claude_openai.protocol.turn.events import TextDelta, TurnCompleted, TurnStarted, Usage
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing import MessagesApi, RecordedRequest, Reply, Text, ToolUse

WORD = "word "


def count_of(prompt: str) -> int:
    """How many deltas the prompt asks for: its last word."""
    return int(prompt.split()[-1])


class FastBackend(Backend):
    """As many deltas as the prompt asks for: `say N` one by one, `burst N` 64 at a time, `slow N` one each second."""

    name = "fast"

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> None:
        prompt = request.prompt.text
        delta = TextDelta(WORD)
        await emit(TurnStarted("fast"))
        for number in range(count_of(prompt)):
            await emit(delta)
            if prompt.startswith("slow"):
                await trio.sleep(1)
            elif prompt.startswith("say") or number % 64 == 0:
                await trio.lowlevel.checkpoint()
        await emit(TurnCompleted("stop", Usage()))


async def bare() -> None:
    """A quart-trio app and nothing else, which streams the bytes that ours sends."""
    app = QuartTrio("bare")
    chunks = ChunkStream(ResponseHead("chatcmpl-bare", 0, "claude"), include_usage=False)
    chunks.feed(TurnStarted("bare"))
    frame = chunks.feed(TextDelta(WORD))

    @app.post("/v1/chat/completions/<int:count>")
    async def stream(count: int) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(count):
                yield frame
            yield b"data: [DONE]\n\n"

        response = Response(body(), mimetype="text/event-stream")
        response.timeout = None
        return response

    config = HypercornConfig()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        print((await nursery.start(hypercorn_serve, app, config))[0], flush=True)


async def scripted(output_dir: str = "", responses_file: str = "", state_url: str = "", state_key: str = "") -> None:
    """Run our server with a backend that costs nothing.

    Runs are captured in the folder, and responses are stored in the file or in Redis, unless the argument is empty.
    """
    config = Config(
        port=0,
        log=False,
        max_concurrency=1000,
        process_timeout_ms=600_000,
        output_dir=Path(output_dir) if output_dir else None,
        responses_file=Path(responses_file) if responses_file else None,
        state_url=state_url or None,
        state_key=state_key or None,
        control_key="benchmark",
    )
    async with trio.open_nursery() as nursery:
        print((await nursery.start(partial(serve, config, backend=FastBackend())))[0], flush=True)


async def real(upstream: str, folder: str, backend: str = "sdk", idle: str = "4") -> None:
    """Our server over the real Claude Code, its upstream a stand-in."""
    env = stand_in_environment(upstream, Path(folder))
    # The status is held until the way of the conversation is known, however busy the machine is.
    config = Config(
        port=0,
        log=False,
        backend=backend,
        max_idle_sessions=int(idle),
        process_timeout_ms=600_000,
        hold_status_ms=60_000,
        extra_env=env,
    )
    tune_interpreter()  # as the command has it
    async with trio.open_nursery() as nursery:
        print((await nursery.start(partial(serve, config, on_loaded=gc.freeze)))[0], flush=True)


async def stand_in() -> None:
    """The Messages API: as many deltas as the prompt asks for, or a call."""

    def reply(request: RecordedRequest) -> Reply:
        said = [message for message in request.messages if message["role"] == "user"][-1]["content"]
        if any(block["type"] == "tool_result" for block in said if isinstance(block, dict)):
            return Reply(WORD)
        if request.last_user_text.startswith("call"):
            number = len(api.requests)
            return Reply(ToolUse("mcp__openai__look", {}, f"toolu_{number}"))
        return Reply(Text(*[WORD] * count_of(request.last_user_text)))

    async with MessagesApi.serving(reply) as api:
        print(api.base_url, flush=True)
        await trio.sleep_forever()


async def clock() -> None:
    """The Messages API: it answers with the time at which it saw the request; see `answer`."""

    def reply(request: RecordedRequest) -> Reply:
        return Reply(Text(f"{time.perf_counter():.6f} ", WORD))

    async with MessagesApi.serving(reply, remember=False, strict=False) as api:
        print(api.base_url, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    SERVERS: dict[str, Callable[..., Awaitable[None]]] = {
        "bare": bare,
        "scripted": scripted,
        "real": real,
        "stand_in": stand_in,
        "clock": clock,
    }
    trio.run(SERVERS[sys.argv[1]], *sys.argv[2:])
