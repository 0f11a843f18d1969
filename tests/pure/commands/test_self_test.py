"""How `doctor --self-test` reads answers and requests, and which problems are known of an old Claude Code."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from claude_openai.claude.process.version import LEAST_ORDERED, Version
from claude_openai.commands.doctor.self_test import _Tested, _Turn
from claude_openai.commands.doctor.self_test_reading import added_text, answer_in, has_moved_results
from claude_openai.commands.doctor.self_test_turns import SYSTEM, Kind, kinds
from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.server import MessagesApi

PARALLEL = next(kind for kind in kinds("sdk") if kind.name == "parallel results")
OWN = [{"type": "text", "text": "billing"}, {"type": "text", "text": "agent"}]


def request(results: Sequence[int], *more: dict[str, Any]) -> RecordedRequest:
    """What Claude Code sends for `PARALLEL`, with these of the results."""

    def call(n: int) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{n}", "name": "mcp__openai__look", "input": {"n": n}}

    def result(n: int, text: str) -> dict[str, Any]:
        return {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": text}

    messages = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [call(1)]},
        {"role": "user", "content": [result(1, "seen")]},
        {"role": "assistant", "content": "It is."},
        {"role": "user", "content": "look twice"},
        {"role": "assistant", "content": [call(2), call(3)]},
        {"role": "user", "content": [*(result(n, {2: "left", 3: "right"}[n]) for n in results), *more]},
    ]
    system = [*OWN, {"type": "text", "text": SYSTEM}]
    return RecordedRequest(
        "POST", "/v1/messages", "", {}, json.dumps({"system": system, "messages": messages}).encode()
    )


def test_results_in_another_order_are_moved_and_none_is_missing() -> None:
    assert not has_moved_results(request((2, 3)))
    assert has_moved_results(request((3, 2)))
    assert added_text(PARALLEL, request((2, 3))) == added_text(PARALLEL, request((3, 2))) == ""


def test_a_lost_result_is_missing_and_a_text_beside_the_results_is_added() -> None:
    with pytest.raises(ValueError, match="'right'"):
        added_text(PARALLEL, request((2,)))
    assert added_text(PARALLEL, request((2, 3), {"type": "text", "text": "the date"})) == "the date"


@pytest.mark.parametrize(("version", "state"), [(LEAST_ORDERED, "FAIL"), ((2, 1, 200), "warning")])
async def test_moved_results_are_a_warning_only_where_the_version_is_known_for_them(
    version: Version, state: str
) -> None:
    class Moving(_Tested):
        async def _turn(self, kind: Kind) -> _Turn:
            return _Turn(kind.way, 1, "", is_moved=True)

    finding = await Moving("", MessagesApi(), [], version).check(PARALLEL)
    assert finding.state == state
    assert "results of parallel calls change places" in finding.found


def test_answer_of_each_api_is_read() -> None:
    chat = [{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": text}}]}}]} for text in ("a", "b")]
    responses = [{"type": "response.output_text.delta", "delta": text} for text in ("a", "b")]
    messages = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}} for text in ("a", "b")]
    for events in (chat, responses, messages):
        assert answer_in(b"\n\n".join(b"data: " + json.dumps(each).encode() for each in events), stream=True) == "ab"
    with pytest.raises(ValueError, match="no luck"):
        answer_in(b'data: {"type": "error", "error": {"message": "no luck"}}', stream=True)
