"""Blocks as tests write them."""

from claude_openai.protocol.turn.blocks import TextBlock, ToolResultBlock

__all__ = ["result_block"]


def result_block(call_id: str, *texts: str) -> ToolResultBlock:
    return ToolResultBlock(call_id, tuple(TextBlock(text) for text in texts))
