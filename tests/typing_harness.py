"""Not run: type-checked with and without trio-typing's stubs, as a harness's own code would be."""

import trio

from claude_openai import Config, serve


async def main() -> list[str]:
    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(serve, Config(port=0))
        nursery.cancel_scope.cancel()
    return urls
