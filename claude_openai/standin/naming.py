"""Puts a script's answer into the terms of the request that Claude Code sends.

Scripts use the client's names of tools and `Json`. Claude Code has other names for the client's tools, and takes an
object for `response_format` as the call of a tool of its own.
"""

import json
from collections.abc import Collection

from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT
from claude_openai.protocol.claude_code.tool_names import mcp_name
from claude_openai.standin.script import Answer, Block, Interruption, Json, Reply, Text, ToolUse

__all__ = ["in_claude_terms", "with_text_as_json"]


def in_claude_terms(answer: Answer, tools: Collection[str]) -> Answer:
    """Return the answer with the names of tools, and the form of structured output, that Claude would use.

    Args:
        answer: from a script.
        tools: the names of the tools in the request to Claude.
    """
    if not isinstance(answer, Reply) or not any(isinstance(step, ToolUse | Json) for step in answer.steps):
        return answer
    return answer.with_steps(*(_step(step, tools) for step in answer.steps))


def with_text_as_json(answer: Answer) -> Answer:
    """Return a reply that is only a text with a JSON object as a reply with that object; others unchanged.

    Args:
        answer: for a request with `response_format`.
    """
    texts = [step for step in answer.steps if isinstance(step, Text)] if isinstance(answer, Reply) else []
    if len(texts) != 1 or not isinstance(answer, Reply) or any(isinstance(s, ToolUse | Json) for s in answer.steps):
        return answer
    try:
        value = json.loads("".join(piece for piece in texts[0].pieces if isinstance(piece, str)))
    except (ValueError, RecursionError):
        return answer
    if not isinstance(value, dict):
        return answer
    call = ToolUse(STRUCTURED_OUTPUT, value, fragments=texts[0].pieces, fits=answer.fits)
    return answer.with_steps(*(call if step is texts[0] else step for step in answer.steps))


def _step(step: Block | Interruption, tools: Collection[str]) -> Block | Interruption:
    match step:
        case Json(value, fits) if STRUCTURED_OUTPUT in tools:
            return ToolUse(STRUCTURED_OUTPUT, value, fits=fits)
        case ToolUse() if step.name not in tools and mcp_name(step.name) in tools:
            return ToolUse(mcp_name(step.name), step.input, step.id, fragments=step.fragments, fits=step.fits)
    return step
