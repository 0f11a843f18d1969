"""What the scripts of the clients share: the prompts, what comes back, and how a case tells its result.

`run` prints one line a case, which `tests.clients` reads. Knows no client, and needs nothing but Python.
"""

import asyncio
import inspect
import json
import os
import subprocess
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

URL = os.environ["OPENAI_BASE_URL"]
MODEL = "claude-sonnet"
NO_MODEL = "no-such-model"

HELLO = "Say hello."
CHUNKS = ["Hello, ", "wide ", "world."]
SAID = "Hello, wide world."

WEATHER = "What is the weather in Paris and in Rome?"
REPORTS = {"Paris": "sunny", "Rome": "rainy"}
TOLD = "I was told: sunny and rainy."

DESCRIBE = "Describe Paris."
POPULATION = 2_100_000

SLOW_DOWN = "Slow down."
BREAK_OFF = "Break off."

raises = unittest.TestCase().assertRaises
raises_that = unittest.TestCase().assertRaisesRegex


def weather(city: str) -> str:
    """The weather in a city."""
    return REPORTS[city]


WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def responses(case: Callable[[], Any]) -> Callable[[], Any]:
    """Mark a case that needs `/v1/responses`."""
    return unittest.skipUnless(os.environ.get("HAS_RESPONSES"), "no /v1/responses")(case)


def run(*cases: Callable[[], Any]) -> None:
    """Run the cases one after the other, whatever becomes of them."""
    for case in cases:
        name = case.__name__
        result = unittest.TestResult()
        unittest.FunctionTestCase(_plain(case))(result)
        broken = [text for _, text in (*result.errors, *result.failures)]
        skipped = [reason for _, reason in result.skipped]
        outcome = "FAILED" if broken else "skipped" if skipped else "ok"
        print("case " + json.dumps([name, outcome, "\n".join((*broken, *skipped))]), flush=True)


def _plain(case: Callable[[], Any]) -> Callable[[], Any]:
    if not inspect.iscoroutinefunction(case):
        return case
    return lambda: asyncio.run(case())


def run_program(name: str, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the client's own environment, which comes first on PATH, to its end.

    Args:
        env: more variables.
    """
    command = [name, *arguments]
    more = {**os.environ, **env}
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=more, cwd=cwd, check=False
    )


def json_lines(text: str) -> list[Any]:
    """The JSON objects among the lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
