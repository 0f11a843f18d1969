"""Pictures, files and thinking on the real Claude Code: they arrive as blocks, live and from a transcript."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import RecordedRequest, Reply, Text, Thinking
from tests.media_files import PDF, PICTURE, _url, sent
from tests.pictures import PICTURES, PNG
from tests.real.call import Call, chat
from tests.real.harness import needs_claude, serving
from tests.real.tool_turns import ASKED, KEPT, ask, results, use

pytestmark = needs_claude


PARTS = [
    {"type": "text", "text": "Look."},
    PICTURE,
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": _url(PDF, "application/pdf")}},
    {"type": "file", "file": {"filename": "a.txt", "file_data": _url(b"some text", "text/plain")}},
    {"type": "text", "text": "What is it?"},
]
SENT = [
    ("text", "Look."),
    ("image", "image/png"),
    ("image", "https://example.org/a.png"),
    ("document", "application/pdf"),
    ("document", "some text"),
    ("text", "What is it?"),
]


@pytest.mark.long
async def test_pictures_and_files_arrive_as_blocks_in_their_order_live_and_replayed(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [{"role": "user", "content": PARTS}]
    more = [*said, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "And now?"}]
    async with serving(tmp_path, **KEPT) as served:
        ways = []
        for messages, fields in ((said, {}), (more, {}), (more, {"user": "another"})):
            async with Call.open(served.url, chat(messages, **fields)) as call:
                status, answer = await call.answer()
                assert status == 200, answer
                ways.append(call.headers["x-claude-openai-conversation"])
        assert ways == ["new", "continued", "replayed"]
        assert [sent(request, 0) for request in served.api.requests] == [SENT, SENT, SENT]


@pytest.mark.long
async def test_a_tools_picture_goes_to_the_waiting_turn_and_into_a_replayed_one(tmp_path: Path) -> None:
    async with serving(tmp_path, **KEPT) as served:
        served.api.enqueue(Reply("Let me see.", use(1), use(2, "/b")))
        first, _ = await ask(served, ASKED)
        said = results(first, "A", "B")
        said[1]["content"] = [{"type": "text", "text": "A picture:"}, PICTURE]
        ways = [(await ask(served, [*ASKED, *said]))[1] for _ in range(2)]
        assert ways == ["parked", "replayed"]
        for request in served.api.requests[1:]:
            contents = _result_contents(request)
            assert contents == {"toolu_1": ["text", "image"], "toolu_2": ["text"]}


def _result_contents(request: RecordedRequest) -> dict[str, list[str]]:
    """The kinds of blocks in each result; Claude Code looks at pictures first, so their order may be another."""
    blocks: Sequence[dict[str, Any]] = [m for m in request.messages if m["role"] == "user"][-1]["content"]
    found = {block["tool_use_id"]: block["content"] for block in blocks if block["type"] == "tool_result"}
    return {call: [block["type"] for block in content] for call, content in found.items()}


@pytest.mark.long
async def test_thinking_is_restored_with_its_calls_in_a_replay(tmp_path: Path) -> None:
    # The conversation is not kept, so the results come to a new process.
    async with serving(tmp_path, max_idle_sessions=0) as served:
        served.api.enqueue(Reply(Thinking("Which file?", signature="c2lnbmVk"), Text("Let me see."), use(1)))
        first, _ = await ask(served, ASKED)
        _, way = await ask(served, [*ASKED, *results(first, "A")])
        assert way == "replayed"
        called = next(m for m in served.api.requests[1].messages if m["role"] == "assistant")
        assert called["content"][0] == {"type": "thinking", "thinking": "Which file?", "signature": "c2lnbmVk"}
        assert [block["type"] for block in called["content"]] == ["thinking", "text", "tool_use"]


async def test_valid_picture_reaches_claude_and_invalid_one_is_a_400(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        every = [{"type": "image_url", "image_url": {"url": _url(raw, kind)}} for kind, raw in PICTURES.values()]
        async with Call.open(served.url, chat([{"role": "user", "content": every}])) as call:
            assert await call.status() == 200
            await call.body()
        assert sent(served.api.requests[0], 0) == [("image", kind) for kind, _ in PICTURES.values()]
        broken = {"type": "image_url", "image_url": {"url": _url(PNG[:8], "image/png")}}
        said = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, broken]}
        async with Call.open(served.url, chat([said])) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["param"]) == (400, "messages[0].content[1].image_url.url")
        assert len(served.api.requests) == 1
