"""The answers of `claude-openai --demo`: each says that it is a demo and summarizes the request to Claude.

A pure function of the recorded request: the same request always gets the same text and the same counts.
"""

import re

from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import Pause, Piece, Reply, Text, Usage

__all__ = ["demo_reply"]

CLIP_CHARS = 200
PAUSE_S = 0.03
ALL_PAUSES_S = 0.8  # a long answer streams faster, never longer


def demo_reply(request: RecordedRequest) -> Reply:
    """Stream, as a script of `MessagesApi`, a summary of the request, word by word within a second.

    Its token counts are counts of words.
    """
    words = re.findall(r"\s*\S+", _answer(request))
    pause = Pause(min(PAUSE_S, ALL_PAUSES_S / len(words)))
    pieces: list[Piece] = [words[0]]
    for word in words[1:]:
        pieces += [pause, word]
    return Reply(Text(*pieces), usage=Usage(input_tokens=request.prompt_words, output_tokens=len(words)))


def _answer(request: RecordedRequest) -> str:
    # The CLI puts a line for billing before the prompt, and the environment into a separate message.
    system_lines = [line for line in request.system_text.splitlines() if not line.startswith("x-anthropic-")]
    text, system = _clip(request.last_user_text), _clip(" ".join(system_lines))
    message = f"You said: {text}" if text else "Your last message has no text."
    count = sum(message.get("role") in ("user", "assistant") for message in request.messages)
    messages = "1 message" if count == 1 else f"{count} messages"
    prompt = f"the system prompt “{system}”" if system else "no system prompt"
    tools = f"the tools {', '.join(request.tools)}" if request.tools else "no tools"
    return (
        "[demo] This is the demo of claude-openai: a script wrote this answer, no Claude account was used. "
        f"{message}\n\nThe request had {messages}, {prompt} and {tools}."
    )


def _clip(text: str) -> str:
    """Return the text on one line, cut if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= CLIP_CHARS else f"{line[: CLIP_CHARS - 1]}…"
