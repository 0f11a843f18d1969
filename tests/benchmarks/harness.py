"""What a test with `fake_claude` costs, beside the fakes that others use: `python -m tests.benchmarks harness`.

Each round is one whole test: the fake is opened, a client of the openai package asks one question, the fake is closed.
The sides take turns. respx and pydantic-ai are measured where they are installed; they are no part of the `test` extra.
"""

import asyncio
import importlib.util
import ssl
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import openai
import trio
from trio.testing import MockClock

from claude_openai.testing import RATE_LIMIT_ERROR, fake_claude, running_fake_claude

from .report import report

__all__ = ["harness"]

ROUNDS: Final = 200
WARM_UP: Final = 5
MEMORY_MS: Final = 15
SOCKETS_MS: Final = 40
BACKOFF_TESTS: Final = 100
BACKOFF_TESTS_S: Final = 10.0
VIRTUAL_RUNS: Final = 10_000
MEMORY: Final = "memory"
CHAT: Final[dict[str, Any]] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}


def harness() -> None:
    """Report what a test costs, and whether virtual time is exact."""
    _costs()
    _backoffs()
    _virtual_time()


def _costs() -> None:
    sides = {
        "in memory": _in_memory,
        "on sockets": _on_sockets,
        "on sockets, of that its client's certificates": _certificates,
        "from a thread": _from_a_thread,
        **_others(),
    }
    took: dict[str, list[float]] = {name: [] for name in sides}
    worked: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(WARM_UP + ROUNDS):
        for name, run in sides.items():
            began, cpu = time.perf_counter(), time.process_time()
            run()
            if number >= WARM_UP:
                took[name].append((time.perf_counter() - began) * 1000)
                worked[name].append((time.process_time() - cpu) * 1000)
    bounds = {"in memory": MEMORY_MS, "on sockets": SOCKETS_MS}
    for name, times in took.items():
        ms = median(times)
        bound = bounds.get(name)
        report(
            f"one test {name}",
            f"{ms:.1f} ms, {median(worked[name]):.1f} ms of CPU",
            holds=None if bound is None else ms <= bound,
        )


def _in_memory() -> None:
    async def test() -> None:
        async with fake_claude("Hello") as claude:
            await claude.openai().chat.completions.create(**CHAT)

    trio.run(test, clock=MockClock(autojump_threshold=0))


def _on_sockets() -> None:
    async def test() -> None:
        async with (
            fake_claude("Hello") as claude,
            openai.AsyncOpenAI(base_url=claude.url, api_key=claude.api_key) as client,
        ):
            await client.chat.completions.create(**CHAT)

    trio.run(test)


def _certificates() -> None:
    """What a client of the openai package does when it is made, for a server at any address."""
    openai.OpenAI(base_url="http://fake/v1", api_key="none").close()


def _from_a_thread() -> None:
    with running_fake_claude("Hello") as claude:
        claude.openai().chat.completions.create(**CHAT)


def _others() -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {}
    if importlib.util.find_spec("respx") is not None:
        found["with respx"] = _with_respx
    if importlib.util.find_spec("pydantic_ai") is not None:
        found["with pydantic-ai's TestModel"] = _with_test_model
    return found


def _with_respx() -> None:
    import httpx  # type: ignore[import-not-found,unused-ignore]
    import respx  # type: ignore[import-not-found,unused-ignore]

    http: Any = httpx.Client()
    message = {"role": "assistant", "content": "Hello"}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "claude-sonnet",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    with respx.mock(base_url="http://fake/v1") as mock:
        mock.post("/chat/completions").mock(return_value=httpx.Response(200, json=body))
        with openai.OpenAI(base_url="http://fake/v1", api_key="none", http_client=http) as client:
            client.chat.completions.create(**CHAT)


def _with_test_model() -> None:
    from pydantic_ai import Agent  # type: ignore[import-not-found,unused-ignore]
    from pydantic_ai.models.test import TestModel  # type: ignore[import-not-found,unused-ignore]

    asyncio.run(Agent(TestModel(custom_output_text="Hello")).run("Hi"))


def _backoffs() -> None:
    """Tests whose client waits 60 s three times."""

    async def test() -> float:
        limit = RATE_LIMIT_ERROR.with_headers(retry_after="60")
        async with fake_claude(limit, limit, limit, "Hello") as claude:
            await claude.openai(max_retries=3).chat.completions.create(**CHAT)
            return trio.current_time()

    began = time.perf_counter()
    for _ in range(BACKOFF_TESTS):
        trio.run(test, clock=MockClock(autojump_threshold=0))
    took = time.perf_counter() - began
    report(f"{BACKOFF_TESTS} tests with three waits of 60 s", f"{took:.1f} s", holds=took < BACKOFF_TESTS_S)


def _virtual_time() -> None:
    """A client in memory, and on a socket by address and by name: every run takes no virtual time."""
    certificates = ssl.create_default_context()

    async def test(host: str) -> float:
        async with fake_claude("Hello") as claude:
            began = trio.current_time()
            if host == MEMORY:
                await claude.openai().chat.completions.create(**CHAT)
            else:
                url = claude.url.replace("127.0.0.1", host)
                http = openai.DefaultAsyncHttpxClient(verify=certificates)
                async with openai.AsyncOpenAI(base_url=url, api_key=claude.api_key, http_client=http) as client:
                    await client.chat.completions.create(**CHAT)
            return trio.current_time() - began

    for name, hosts in (("in memory", (MEMORY,)), ("on sockets", ("127.0.0.1", "localhost"))):
        took = [
            trio.run(test, hosts[n % len(hosts)], clock=MockClock(autojump_threshold=0)) for n in range(VIRTUAL_RUNS)
        ]
        exact = took.count(0.0)
        report(f"{VIRTUAL_RUNS} runs {name} under a clock that jumps", f"{exact} exact", holds=exact == VIRTUAL_RUNS)
