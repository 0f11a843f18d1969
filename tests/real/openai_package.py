"""The openai package, in a thread beside the server."""

from collections.abc import Callable
from typing import Any

import openai
import trio

from tests.real.harness import LIMIT_S, Served

__all__ = ["with_the_package"]


async def with_the_package(served: Served, use: Callable[[openai.OpenAI], Any], **options: Any) -> Any:
    """Use a client of its own; it validates what it gets, and repeats nothing unless its options say so."""

    def run() -> Any:
        strict: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": LIMIT_S / 2, **options}
        with openai.OpenAI(base_url=f"{served.url}/v1", _strict_response_validation=True, **strict) as client:
            return use(client)

    return await trio.to_thread.run_sync(run)
