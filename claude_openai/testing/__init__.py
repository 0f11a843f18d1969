"""For test harnesses: a stand-in for the Anthropic Messages API, and a backend that needs no Claude Code.

    async with MessagesApi.serving(Reply("Hello", usage=Usage(output_tokens=1))) as api:
        ...  # run Claude Code with ANTHROPIC_BASE_URL=api.base_url and any ANTHROPIC_API_KEY
        assert api.requests[0].last_user_text == "Hi"

    backend = ScriptedBackend(full_turn("Hel", Pause(2), "lo"))
    urls = await nursery.start(partial(serve, Config(port=0), backend=backend))

Importing this needs only trio and h11.
"""

from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import (
    API_ERROR,
    AUTHENTICATION_ERROR,
    NOT_FOUND_ERROR,
    OVERLOADED_ERROR,
    PERMISSION_ERROR,
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    REQUEST_TOO_LARGE,
    Answer,
    Block,
    Cut,
    Garbage,
    Hang,
    HttpError,
    Pause,
    Piece,
    Reply,
    Step,
    StopReason,
    Text,
    Thinking,
    ToolUse,
    UpstreamErrorEvent,
    Usage,
    Waitable,
)
from claude_openai.standin.server import MessagesApi, Script
from claude_openai.testing.scripted_backend import (
    Alive,
    Crash,
    ScriptedBackend,
    ScriptedTurn,
    TurnScript,
    TurnStep,
    deltas,
    full_turn,
)

__all__ = [
    "API_ERROR",
    "AUTHENTICATION_ERROR",
    "NOT_FOUND_ERROR",
    "OVERLOADED_ERROR",
    "PERMISSION_ERROR",
    "PROMPT_TOO_LONG",
    "RATE_LIMIT_ERROR",
    "REQUEST_TOO_LARGE",
    "Alive",
    "Answer",
    "Block",
    "Crash",
    "Cut",
    "Garbage",
    "Hang",
    "HttpError",
    "MessagesApi",
    "Pause",
    "Piece",
    "RecordedRequest",
    "Reply",
    "Script",
    "ScriptedBackend",
    "ScriptedTurn",
    "Step",
    "StopReason",
    "Text",
    "Thinking",
    "ToolUse",
    "TurnScript",
    "TurnStep",
    "UpstreamErrorEvent",
    "Usage",
    "Waitable",
    "deltas",
    "full_turn",
]
