"""Two people with one history never share a live process."""

from pathlib import Path

from claude_openai.testing import Reply
from tests.named_keys import bearer, named_key, write_keys
from tests.real.call import Call, chat
from tests.real.harness import needs_claude, serving

pytestmark = needs_claude

SECOND = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And now?"},
]


async def test_a_live_conversation_is_not_continued_with_another_key(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.json", named_key("ann"), named_key("bob"))
    async with serving(tmp_path, Reply("Hello."), keys_file=keys, max_idle_sessions=4) as served:

        async def route(name: str, body: dict[str, object]) -> str:
            async with Call.open(served.url, body, **bearer(name)) as call:
                assert (await call.answer())[0] == 200
                return call.headers["x-claude-openai-conversation"]

        assert await route("ann", chat("Hi")) == "new"
        assert await route("bob", chat(SECOND)) == "replayed"
        assert await route("ann", chat(SECOND)) == "continued"
