"""`claude-openai key` beside a running server: a new key works at once, and a revoked one ends its turns."""

import json
from pathlib import Path

import pytest
import trio

from claude_openai.testing import Hang, Reply, Text
from tests.real.call import Call, chat
from tests.real.command import shell
from tests.real.harness import LIMIT_S, needs_claude

pytestmark = needs_claude


@pytest.mark.long
async def test_a_server_follows_the_keys_that_the_command_adds_and_revokes(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        ann = (await user("key", "add", "ann")).stdout.strip()
        file = user.home / ".claude-openai" / "keys.json"
        server = await user.start("--keys-file", str(file))
        bob = (await user("key", "add", "bob")).stdout.strip()
        for key in (ann, bob):
            async with Call.open(server.base_url, chat("Hi"), authorization=f"Bearer {key}") as call:
                assert (await call.answer())[0] == 200
        async with Call.open(server.base_url, chat("Hi"), authorization="Bearer wrong") as call:
            assert (await call.answer())[0] == 401
        runs = json.loads((await user("runs", "--json")).stdout)
        assert [run["key"] for run in runs] == ["bob", "ann"]

        user.api.enqueue(Reply(Text("one", Hang())))
        async with Call.open(server.base_url, chat("Hi", stream=True), authorization=f"Bearer {ann}") as call:
            assert await call.status() == 200
            await call.until_text("one")
            revoked = await user("key", "revoke", "ann")
            assert (revoked.code, revoked.stdout) == (0, "")
            with trio.fail_after(LIMIT_S):
                assert "The API key of 'ann' was revoked" in str(await call.events())
        async with Call.open(server.base_url, chat("Hi"), authorization=f"Bearer {ann}") as call:
            assert (await call.answer())[0] == 401
        assert (await user("restart")).code == 0
        async with Call.open(user.server().base_url, chat("Hi"), authorization=f"Bearer {bob}") as call:
            assert (await call.answer())[0] == 200


async def test_a_server_does_not_start_with_a_missing_keys_file(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        said = await user("--port", "0", "--keys-file", str(tmp_path / "none.json"))
        assert (said.code, said.stdout) == (2, "")
        assert "none.json' does not exist; `claude-openai key add NAME` makes it" in said.stderr
