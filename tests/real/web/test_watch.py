"""What the watch stream reports of real processes and conversations is true, and a conversation can be closed."""

from pathlib import Path
from typing import Any

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import OK, needs_claude, serving, until
from tests.real.tool_turns import READ

pytestmark = needs_claude
BEARER = {"authorization": "Bearer key"}


async def state_of(url: str, wanted: list[str]) -> dict[str, Any]:
    """The state in the first frame in which the conversations have these phases."""
    async with Call.open(url, None, "/control/watch", **BEARER) as call:
        assert await call.status() == 200
        state: dict[str, Any] = {}
        while sorted(each["phase"] for each in state.get("conversations", ())) != wanted:
            frame = await call.event()
            assert isinstance(frame, dict)
            state |= frame.get("state", {})
        return state


async def test_conversations_and_their_processes_are_reported_and_closed(tmp_path: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        return (
            Reply(ToolUse("mcp__openai__read", {"path": "/a"}, "toolu_1")) if request.last_user_text == "call" else OK
        )

    async with serving(tmp_path, reply, max_idle_sessions=4, control_key="key") as served:
        for body in (chat("hello"), chat("call", tools=[READ])):
            async with Call.open(served.url, body) as call:
                assert (await call.answer())[0] == 200
        state = await state_of(served.url, ["idle", "parked"])
        assert {each["messages"] for each in state["conversations"]} == {2}
        assert sorted(each["kind"] for each in state["processes"]) == ["idle", "parked"]
        assert all(10 < each["memory_mb"] < 2000 for each in state["processes"])
        assert state["memory_mb"] > sum(each["memory_mb"] for each in state["processes"])
        for left in (1, 0):
            conversation = state["conversations"][left]["id"]
            path = f"/control/conversations/{conversation}/close"
            async with Call.open(served.url, {}, path, **BEARER) as call:
                assert (await call.answer())[1] == {"id": conversation, "closed": True}
            await until(lambda: len(served.processes.marked()) == left, f"{left} processes are left")  # noqa: B023
        async with Call.open(served.url, {}, path, **BEARER) as call:
            assert await call.status() == 404
