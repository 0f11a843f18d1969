"""`fake_claude(...).url`: the same fake for clients that open sockets, under a mock clock too."""

from typing import Any

import openai
import pytest
import trio
from trio.testing import MockClock

from claude_openai.testing import Pause, Reply, fake_claude

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}


async def test_client_on_a_socket_gets_the_script_in_virtual_time() -> None:
    async with fake_claude(Reply("a", Pause(60), "b")) as claude:
        assert claude.url == claude.url
        assert claude.url.startswith("http://127.0.0.1:")
        began = trio.current_time()
        async with openai.AsyncOpenAI(base_url=claude.url, api_key=claude.api_key) as client:
            answer = await client.chat.completions.create(**CHAT)
        assert answer.choices[0].message.content == "ab"
        assert trio.current_time() - began == 60
        assert claude.last.headers["host"] in claude.url


async def test_port_is_closed_with_the_fake() -> None:
    async with fake_claude() as claude:
        port = int(claude.url.removesuffix("/v1").rpartition(":")[2])
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_port_may_be_asked_for_at_the_very_end() -> None:
    async with fake_claude() as claude:
        _ = claude.url


async def test_no_port_is_opened_after_the_end() -> None:
    async with fake_claude() as claude:
        pass
    with pytest.raises(trio.ClosedResourceError, match="has ended"):
        _ = claude.url


@pytest.mark.long
def test_clock_does_not_jump_while_names_are_resolved_or_bytes_are_under_way() -> None:
    async def run(host: str) -> float:
        async with fake_claude(Reply("a" * 50_000, Pause(60), "b", Pause(7), "c")) as claude:
            began = trio.current_time()
            url = claude.url.replace("127.0.0.1", host)
            async with openai.AsyncOpenAI(base_url=url, api_key=claude.api_key) as client:
                await client.chat.completions.create(**CHAT)
                await client.models.list()
            return trio.current_time() - began

    hosts = ("127.0.0.1", "localhost")
    took = [trio.run(run, hosts[n % 2], clock=MockClock(autojump_threshold=0)) for n in range(2000)]
    assert set(took) == {67.0}
