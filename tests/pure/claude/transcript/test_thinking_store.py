"""Claude's thinking is restored in the same answer of the same owner, and in no other."""

import json
from dataclasses import replace
from typing import Any

import pytest

from claude_openai.claude.transcript.message_form import content_block
from claude_openai.claude.transcript.thinking_store import Thinking, ThinkingStore
from claude_openai.protocol.turn.blocks import Message, Role, TextBlock, ThinkingBlock, ToolUseBlock

SIGNED = {"type": "thinking", "thinking": "Let me see.", "signature": "abc"}
MODEL = "claude-sonnet-5-5"
BEGIN = {"type": "message_start", "message": {"model": MODEL}}
REDACTED = {"type": "redacted_thinking", "data": "xyz"}


def start(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "content_block": block}


def delta(**fields: str) -> dict[str, Any]:
    (key,) = (key for key in fields if key != "type")
    return {"type": "content_block_delta", "delta": {"type": f"{key}_delta", **fields}}


def collected(*events: dict[str, Any]) -> list[Any]:
    thinking = Thinking()
    for event in (BEGIN, *events):
        thinking.feed(event)
    assert {block.model for block in thinking.blocks()} <= {MODEL}
    return [json.loads(block.json) for block in thinking.blocks()]


def turn(*calls: str) -> Message:
    return Message("assistant", (TextBlock("So:"), *(ToolUseBlock(call, "read", "{}") for call in calls)))


def test_thinking_is_put_together_with_its_signature() -> None:
    block = start({"type": "thinking", "thinking": "", "signature": ""})
    deltas = [delta(thinking="Let me"), delta(thinking=" see."), delta(signature="abc")]
    text = [start({"type": "text", "text": ""}), delta(text="So:")]
    assert collected(block, *deltas, start(REDACTED), *text) == [SIGNED, REDACTED]


def test_thinking_without_a_signature_is_not_restored() -> None:
    assert collected(start({"type": "thinking", "thinking": "", "signature": ""}), delta(thinking="hm")) == []


def test_only_the_last_message_of_a_turn_counts() -> None:
    assert collected(start(REDACTED), BEGIN) == []


def test_deltas_without_their_start_are_ignored() -> None:
    assert collected(delta(thinking="hm"), delta(signature="abc")) == []


def test_it_is_put_before_exactly_the_calls_that_it_came_before() -> None:
    kept, block = ThinkingStore(), ThinkingBlock(json.dumps(SIGNED), MODEL)
    kept.keep("ann", [turn("a", "b")], (block,))
    assert kept.restored("ann", [turn("b", "a"), turn("a"), turn()]) == (
        Message("assistant", (block, *turn("b", "a").blocks)),
        turn("a"),
        turn(),
    )
    assert content_block(block) == SIGNED


def test_it_replaces_the_copy_of_a_client_which_does_not_know_the_model() -> None:
    kept, block = ThinkingStore(), ThinkingBlock(json.dumps(SIGNED), MODEL)
    kept.keep(None, [turn("a")], (block,))
    bare = turn("a")
    copied = Message("assistant", (replace(block, model="another"), *bare.blocks))
    assert kept.restored(None, [copied]) == (Message("assistant", (block, *bare.blocks)),)


@pytest.mark.parametrize("user", ["bob", None, ""])
def test_another_caller_never_gets_it(user: str | None) -> None:
    kept = ThinkingStore()
    kept.keep("ann", [turn("a")], (ThinkingBlock("{}", MODEL),))
    assert kept.restored(user, [turn("a")]) == (turn("a"),)


def said(role: Role, text: str) -> Message:
    return Message(role, (TextBlock(text),))


def test_that_of_an_answer_without_calls_is_restored_after_the_same_history_only() -> None:
    kept, block = ThinkingStore(), ThinkingBlock(json.dumps(SIGNED), MODEL)
    hello, answer = said("user", "Hello"), turn()
    kept.keep("ann", [hello, answer], (block,))
    with_thinking = Message("assistant", (block, *answer.blocks))
    more = [said("user", "And?"), turn()]
    assert kept.restored("ann", [hello, answer, *more]) == (hello, with_thinking, *more)
    parts = Message("assistant", (TextBlock("S"), TextBlock("o:")))  # as a client may send it back
    assert kept.restored("ann", [hello, parts]) == (hello, Message("assistant", (block, *parts.blocks)))
    for other in ([said("user", "Hallo"), answer], [hello, said("assistant", "So")], [answer], [hello]):
        assert kept.restored("ann", other) == tuple(other)
    assert kept.restored("bob", [hello, answer]) == (hello, answer)


def test_a_turn_without_thinking_leaves_nothing() -> None:
    kept = ThinkingStore()
    kept.keep(None, [turn("a")], ())
    kept.keep(None, [], ())
    assert kept.restored(None, [turn(), turn("a")]) == (turn(), turn("a"))


def test_the_oldest_is_forgotten_when_there_is_too_much() -> None:
    kept = ThinkingStore(max_chars=10)
    for call in ("a", "b", "a", "c"):
        kept.keep(None, [turn(call)], (ThinkingBlock("12345", MODEL),))
    remembered = [call for call in "abc" if kept.restored(None, [turn(call)]) != (turn(call),)]
    assert remembered == ["a", "c"]
    kept.keep(None, [turn("d")], (ThinkingBlock("x" * 11, MODEL),))
    assert kept.restored(None, [turn("d")]) == (turn("d"),)
