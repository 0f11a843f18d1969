"""`claude-openai dashboard` prints an address that opens the page once, to the user of the server alone."""

from pathlib import Path

import pytest
import trio

from tests.real.call import Call
from tests.real.command import shell
from tests.real.harness import needs_claude

pytestmark = [needs_claude, pytest.mark.long]


async def log_in(url: str, ticket: str) -> int:
    async with Call.open(url, {"ticket": ticket}, "/dashboard/login") as call:
        status = await call.status()
        await call.body()
        return status


@pytest.mark.parametrize("flags", [(), ("--api-key", "the-key")], ids=["no key", "key"])
async def test_the_address_logs_in_once(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with shell(tmp_path) as user:
        server = await user.start(*flags)
        printed = await user("dashboard")
        assert (printed.code, printed.stderr) == (0, "")
        page, _, ticket = printed.stdout.strip().partition("#ticket=")
        assert page == f"{server.base_url}/dashboard"
        assert [await log_in(server.base_url, ticket) for _ in range(2)] == [200, 401]
        async with Call.open(server.base_url, None, "/dashboard") as call:
            assert await call.status() == 200
        assert ticket not in await trio.Path(server.log_file or "").read_text()


async def test_without_a_server_there_is_no_address(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        printed = await user("dashboard")
        assert (printed.code, printed.stdout) == (1, "")
        assert "not running" in printed.stderr
