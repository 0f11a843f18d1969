"""Public functions of trio that are called elsewhere: an error at once, which names the function and another way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from claude_openai import Config, serve
from claude_openai.testing import MessagesApi, fake_claude

TIMEOUT_S = 20


async def enter(manager: Any) -> None:
    async with manager:
        pass


FUNCTIONS: list[tuple[Callable[[], Awaitable[object]], str]] = [
    (lambda: serve(Config(port=0)), r"claude_openai\.serve .*running_fake_claude"),
    (lambda: enter(fake_claude("Hello")), r"fake_claude .*running_fake_claude"),
    (lambda: enter(MessagesApi.serving()), r"MessagesApi\.serving .*thread"),
    (lambda: MessagesApi().serve(), r"MessagesApi\.serve .*thread"),
]


@pytest.mark.parametrize(("function", "words"), FUNCTIONS)
def test_trio_function_under_asyncio_names_itself_and_what_to_use(
    function: Callable[[], Awaitable[object]], words: str
) -> None:
    async def main() -> None:
        await asyncio.wait_for(function(), TIMEOUT_S)

    with pytest.raises(RuntimeError, match=rf"^{words}"):
        asyncio.run(main())


@pytest.mark.parametrize(("function", "words"), FUNCTIONS)
def test_trio_function_without_an_event_loop_says_the_same(
    function: Callable[[], Awaitable[object]], words: str
) -> None:
    iterator = function().__await__()
    with pytest.raises(RuntimeError, match=rf"^{words}"):
        next(iterator)
