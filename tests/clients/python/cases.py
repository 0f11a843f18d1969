"""What the scripts of the clients share: the prompts, what comes back, and how a case tells its result.

`run` prints one line a case, which `tests.clients` reads. Knows no client, and needs nothing but Python.
"""

import asyncio
import inspect
import json
import os
import subprocess
import tempfile
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from urllib.request import urlopen

URL = os.environ["OPENAI_BASE_URL"]
MODEL = "claude-sonnet"
NO_MODEL = "no-such-model"

HELLO = "Say hello."
CHUNKS = ["Hello, ", "wide ", "world."]
SAID = "Hello, wide world."
# Claude waits after the first of the pieces until the client is seen to have it.
SLOWLY = "Say hello slowly."

WEATHER = "What is the weather in Paris and in Rome?"
REPORTS = {"Paris": "sunny", "Rome": "rainy"}
TOLD = "I was told: sunny and rainy."

DESCRIBE = "Describe Paris."
POPULATION = 2_100_000

SLOW_DOWN = "Slow down."
SLOW_DOWN_ONCE = "Slow down once."
# Claude says BROKEN, and fails: it is overloaded, or has an error of its own.
BREAK_OFF = "Break off."
BREAK_DOWN = "Break down."
LOOK = "What do you see?"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACAQMAAACnuvRZAAAAA1BMVEUAAACnej3aAAAADElEQVR4nGN4wMQAAAKoAOPMyScWAAAAAElFTkSuQmCC"
PLAN = "What is the plan?"
BREAK_OFF_ONCE = "Break off once."
BROKEN = "One two "
TOO_LONG = "Too long."
TOO_LONG_ONCE = "Too long once."

LIMIT_S = 60

equal = unittest.TestCase().assertEqual
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


def go_on() -> None:
    """Let Claude say the rest of the answer to SLOWLY, of which the first words have come."""
    assert int(_asked("go_on")), "the first words came when all was said: they were not streamed"


class Heard(list[str]):
    """The pieces of the answer to SLOWLY as they come: Claude says the first, and the rest when it has been heard."""

    def add(self, text: str | None) -> None:
        if text:
            self.append(text)
            if len(self) == 1:
                go_on()


@contextmanager
def calls_to_claude(prompt: str, expected: int) -> Iterator[None]:
    """Within the block Claude is called so often with the prompt, and no more."""
    before = _calls(prompt)
    yield
    assert _calls(prompt) - before == expected, f"Claude was called {_calls(prompt) - before} times"


def sent_to_claude(prompt: str) -> dict[str, Any]:
    """Return the only request to Claude that has the prompt in its last message.

    `system` is a list of texts, `messages` a list of roles and lists of blocks; a text is a string there.
    """
    request: dict[str, Any]
    (request,) = _asked(f"requests/{quote(prompt, safe='')}")
    return request


# A command that kills the server and ends when it has been started again, and what it prints.
RESTART = f"curl -s {os.environ['STAND_IN']}/restart"
RESTARTED = "again and again"


def _calls(prompt: str) -> int:
    return int(_asked(f"calls/{quote(prompt, safe='')}"))


def _asked(path: str) -> Any:
    with urlopen(f"{os.environ['STAND_IN']}/{path}", timeout=LIMIT_S) as answer:  # noqa: S310 - of the tests' own
        return json.load(answer)


def run(*cases: Callable[[], Any]) -> None:
    """Run the cases one after the other, whatever becomes of them."""
    for case in cases:
        name = case.__name__
        result = unittest.TestResult()
        unittest.FunctionTestCase(_plain(case))(result)
        broken = [text for _, text in (*result.errors, *result.failures)]
        print("case " + json.dumps([name, "FAILED" if broken else "ok", "\n".join(broken)]), flush=True)


def _plain(case: Callable[[], Any]) -> Callable[[], Any]:
    if not inspect.iscoroutinefunction(case):
        return case
    return lambda: asyncio.run(case())


def run_program(
    name: str, *arguments: str, cwd: Path | None = None, slowly: bool = False, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of the client's own environment, which comes first on PATH, to its end.

    Args:
        slowly: it is asked SLOWLY, and must show the first words of the answer before the rest is said.
        env: more variables.
    """
    stdout = b""
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            [name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(cwd, env),
            cwd=cwd,
        ) as process,
    ):
        assert process.stdout
        while data := os.read(process.stdout.fileno(), 65_536):
            stdout += data
            if slowly and CHUNKS[0].strip().encode() in stdout:
                slowly = False
                go_on()
        process.wait(LIMIT_S)
        stderr.seek(0)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout.decode(), stderr.read().decode())


class Conversation:
    """A program that speaks JSON-RPC, one message a line."""

    def __init__(self, *command: str, cwd: Path, **env: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(cwd, env),
            cwd=cwd,
        )
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=LIMIT_S)

    def tell(self, message: dict[str, Any]) -> None:
        """Send one."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """Call a method, and give its result."""
        self._calls += 1
        self.tell({"id": self._calls, "method": method, "params": params})
        while (message := self.next()).get("id") != self._calls or "method" in message:
            pass
        return message["result"]

    def next(self) -> dict[str, Any]:
        """The next message from it."""
        assert self._process.stdout
        message: dict[str, Any] = json.loads(self._process.stdout.readline())
        return message


def connect(client: str, cwd: Path | None = None, **env: str) -> None:
    """Have `claude-openai connect` write the configuration of a client."""
    command = [*json.loads(os.environ["CLAUDE_OPENAI"]), "connect", client, "--write", "--url", URL]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=_environment(cwd, env), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _environment(cwd: Path | None, more: dict[str, str]) -> dict[str, str]:
    """The variables of a program; some believe PWD rather than the system."""
    return {**os.environ, "PWD": str(cwd or Path.cwd()), **more}


def json_lines(text: str) -> list[Any]:
    """The JSON objects among the lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
