"""`claude-openai usage` asks the running server, also one with a key for its clients; without one it reads the file."""

import json
from pathlib import Path

from claude_openai.testing import Reply, Usage
from tests.real.call import Call, chat
from tests.real.command import shell
from tests.real.harness import needs_claude

pytestmark = needs_claude

KEY = "local-key-90b1"
USAGE = Usage(1000, 100, cache_read_input_tokens=2000, cache_creation_input_tokens=4000)


async def test_usage_is_that_of_the_running_server_and_later_that_of_its_file(tmp_path: Path) -> None:
    async with shell(tmp_path, Reply("ok", usage=USAGE)) as user:
        server = await user.start("--max-cost-per-day", "0.0001", env={"CLAUDE_OPENAI_API_KEY": KEY})
        async with Call.open(server.base_url, chat("Hi"), authorization=f"Bearer {KEY}") as call:
            assert (await call.answer())[0] == 200
        shown, as_json = await user("usage"), await user("usage", "--json")
        assert (shown.code, shown.stderr) == (0, "")
        usage = json.loads(as_json.stdout)
        assert [usage["today"][name] for name in ("input_tokens", "cache_read_tokens", "output_tokens")] == [
            7000, 2000, 100,
        ]  # fmt: skip
        # Only the server knows its limits, and what is not yet in its file.
        assert usage["limits"]["max_cost_per_day_usd"] == 0.0001
        assert "refusing turns: This server has used $" in shown.stdout
        _, today, *_ = shown.stdout.splitlines()
        assert today.split()[2:5] == ["7,000", "29%", "100"]

        status = await user("status")
        assert status.code == 3
        assert "warning: A limit of the operator is reached" in status.stdout

        assert (await user("stop")).code == 0
        later = json.loads((await user("usage", "--json")).stdout)
        assert later["today"] == usage["today"]
        assert (later["limits"]["max_cost_per_day_usd"], later["refusing"]) == (None, None)
