"""A test of a program for Node with the `openai` package; `python -m tests.clients openai-node` runs it."""

import os
import subprocess

from claude_openai.testing import running_fake_claude

PROGRAM = """
import OpenAI from "openai";
const answer = await new OpenAI().responses.create({ model: "claude-sonnet", input: "Hi" });
console.log(answer.output_text);
"""


def test_node():
    with running_fake_claude("Hello") as claude:
        env = {**os.environ, "OPENAI_BASE_URL": claude.url, "OPENAI_API_KEY": claude.api_key}
        output = subprocess.check_output(["node", "--input-type=module", "-e", PROGRAM], env=env, text=True)
        assert output == "Hello\n"
        assert claude.last.prompt == "Hi"
