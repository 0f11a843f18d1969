"""What the bundled CLI shows of its work reaches the bound of the time without a sign of life, on both backends."""

from pathlib import Path
from typing import Any

import pytest

from claude_openai.protocol.claude_code.signs_of_life import TOOL_S
from claude_openai.runs.producer import Producer
from claude_openai.testing import OVERLOADED_ERROR, Answer, Reply, Text, Thinking, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import needs_claude, on_both_backends, serving

pytestmark = needs_claude


@pytest.fixture
def signs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Those of all turns, as the backends report them."""
    reported: list[tuple[str, float]] = []
    alive = Producer.alive

    def noted(producer: Producer, what: str, for_s: float = 0) -> None:
        reported.append((what, for_s))
        alive(producer, what, for_s)

    monkeypatch.setattr(Producer, "alive", noted)
    return reported


@pytest.mark.long
@on_both_backends
async def test_retries_thinking_text_calls_and_tools_at_work_are_signs_of_life(
    tmp_path: Path, backend: str, signs: list[tuple[str, float]]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("words")
    answers: list[Answer] = [
        OVERLOADED_ERROR,
        Reply(Thinking("so"), Text("I ", "look."), ToolUse("Read", {"file_path": str(work / "a.txt")}, "toolu_1")),
        Reply("Done."),
    ]
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, **settings) as served:
        served.api.enqueue(*answers)
        asked = chat("Work.", claude={"workingDirectory": str(work), "toolMode": "readonly"})
        async with Call.open(served.url, asked) as call:
            status, answer = await call.answer()
            assert status == 200, answer
        assert len(served.api.requests) == 3
    what = [name for name, _ in signs]
    for name in ("thinking", "text", "the arguments of a tool call", "a request to Claude's API"):
        assert name in what, what
    assert max(for_s for name, for_s in signs if name == "the announcement of a retry") > 0
    at_work = [for_s for name, for_s in signs if name.endswith("with Read at work")]
    assert at_work
    assert set(at_work) == {TOOL_S}
    # Claude Code may write the end of the command after that of the turn.
    ended = signs.index(("the end of the turn", 0))
    assert not any(for_s for _, for_s in signs[ended:])


async def test_parked_conversation_sends_signs_of_life_to_no_turn(
    tmp_path: Path, signs: list[tuple[str, float]]
) -> None:
    async with serving(tmp_path, Reply("ok"), max_idle_sessions=4) as served:
        messages = [{"role": "user", "content": "Hi"}]
        for text in ("And?", "So?"):
            async with Call.open(served.url, chat(messages)) as call:
                status, answer = await call.answer()
                assert status == 200, answer
            messages += [answer["choices"][0]["message"], {"role": "user", "content": text}]
        assert call.headers["x-claude-openai-conversation"] == "continued"
        assert [name for name, _ in signs].count("the beginning of the turn") == 2
