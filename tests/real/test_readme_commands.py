"""What the README tells people to type, run as it stands; only the port is a free one.

The two commands of its first screen, which install the package, are run by `.ci/run`.
"""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio

from claude_openai import Config, serve
from tests.conditions import needs

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
LIMIT_S = 150


def block(language: str, containing: str) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.fixture
async def demo() -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(serve, Config(port=0, demo=True, log=False))
        yield url
        nursery.cancel_scope.cancel()


@pytest.mark.long
async def test_the_commands_for_the_background_start_show_restart_and_stop_a_server(tmp_path: Path) -> None:
    command = block("sh", "--background").replace("logs -f", "logs")
    function = f'claude-openai() {{ "{sys.executable}" -m claude_openai "$@"; }}'
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "CLAUDE_OPENAI_PORT": "0", "CLAUDE_OPENAI_SPARES": "0"}
    output = await output_of("bash", "-euc", f"{function}\n{command}", env={**os.environ, **own})
    assert output.count("runs in the background (demo") == 2
    assert output.splitlines()[-1].endswith("has stopped")


async def test_the_commands_that_connect_a_client_write_its_file_and_set_the_variables(tmp_path: Path) -> None:
    command = block("sh", "claude-openai connect")
    function = f'claude-openai() {{ "{sys.executable}" -P -m claude_openai "$@"; }}\ncd {tmp_path}'
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    output = await output_of(
        "bash", "-euc", f'{function}\n{command}\necho "$OPENAI_BASE_URL"', env={**os.environ, **own}
    )
    assert f"connected: {tmp_path / 'opencode.json'}" in output
    assert output.splitlines()[-1] == "http://127.0.0.1:8000/v1"


async def output_of(*command: str, env: Mapping[str, str] | None = None) -> str:
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, env=env, check=False)
    output: str = done.stdout.decode()
    assert done.returncode == 0, output
    return output


@needs("curl")
async def test_the_curl_command_gets_an_answer(demo: str) -> None:
    command = block("sh", "curl").replace("http://127.0.0.1:8000", demo)
    assert "[demo]" in await output_of("sh", "-euc", command)


async def test_the_openai_program_prints_the_answer(demo: str) -> None:
    program = block("python", "from openai").replace("http://127.0.0.1:8000", demo)
    assert "[demo]" in await output_of(sys.executable, "-c", program)


async def test_the_trio_program_starts_a_server_and_leaves_nothing_behind() -> None:
    assert "listening on http://127.0.0.1:" in await output_of(sys.executable, "-c", block("python", "nursery.start"))


async def test_the_command_that_shows_the_help_knows_every_flag() -> None:
    shown = await output_of(sys.executable, "-m", "claude_openai", "--help-all")
    assert all(flag in shown for flag in re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))
