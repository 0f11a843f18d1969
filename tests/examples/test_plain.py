"""Tests of programs without trio: sync, asyncio, and another process."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import openai

from claude_openai.testing import RATE_LIMIT_ERROR, RunningFakeClaude
from tests.conditions import needs

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
PYTHON = """
import openai
chat = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
print(openai.OpenAI().chat.completions.create(**chat).choices[0].message.content)
"""
NODE = """
const answer = await fetch(process.env.OPENAI_BASE_URL + "/chat/completions", {
  method: "POST",
  headers: {"content-type": "application/json", authorization: "Bearer " + process.env.OPENAI_API_KEY},
  body: JSON.stringify({model: "claude-sonnet", messages: [{role: "user", content: "Hi"}]}),
});
console.log((await answer.json()).choices[0].message.content);
"""


def run(claude: RunningFakeClaude, *command: str) -> str:
    environment = {"OPENAI_BASE_URL": claude.url, "OPENAI_API_KEY": claude.api_key, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_sync(claude_server: RunningFakeClaude) -> None:
    claude_server.answer(RATE_LIMIT_ERROR.with_headers(retry_after="0.01"), "Hello")
    client = openai.OpenAI(base_url=claude_server.url, api_key=claude_server.api_key)
    assert client.chat.completions.create(**CHAT).choices[0].message.content == "Hello"
    assert [request.outcome for request in claude_server.requests] == ["failed", "completed"]
    client.close()


def test_asyncio(claude_server: RunningFakeClaude) -> None:
    async def program() -> str | None:
        async with openai.AsyncOpenAI(base_url=claude_server.url, api_key=claude_server.api_key) as client:
            answer = await client.chat.completions.create(**CHAT)
            text: str | None = answer.choices[0].message.content
            return text

    claude_server.answer("Hello")
    assert asyncio.run(program()) == "Hello"


def test_python_in_another_process(claude_server: RunningFakeClaude) -> None:
    claude_server.answer("Hello")
    assert run(claude_server, sys.executable, "-c", PYTHON) == "Hello\n"
    assert claude_server.last.prompt == "Hi"


@needs("node")
def test_node_in_another_process(claude_server: RunningFakeClaude) -> None:
    claude_server.answer("Hello")
    assert run(claude_server, "node", "--input-type=module", "-e", NODE) == "Hello\n"
