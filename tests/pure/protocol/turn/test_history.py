"""What counts when two histories are compared."""

from claude_openai.protocol.turn.blocks import Message, TextBlock, ThinkingBlock, ToolUseBlock
from claude_openai.protocol.turn.history import canonical

CALL = ToolUseBlock("a", "read", "{}")
THOUGHT = ThinkingBlock("{}", "claude-opus-5-5")


def test_thinking_does_not_count_and_the_texts_around_it_are_joined() -> None:
    turns = (Message("assistant", (THOUGHT, TextBlock("Hel"), THOUGHT, TextBlock("lo"), CALL)),)
    assert canonical(turns) == (Message("assistant", (TextBlock("Hello"), CALL)),)


def test_texts_of_a_user_stay_apart() -> None:
    turns = (Message("user", (TextBlock("Hel"), TextBlock("lo"))),)
    assert canonical(turns) == turns
