"""For tests of programs that use Claude: a fake of the whole server, and a stand-in for the Anthropic Messages API.

    async with fake_claude("Hello") as claude:
        answer = await claude.openai().chat.completions.create(model="claude-sonnet", messages=[...])
        assert claude.last.prompt == "Hi"

    with running_fake_claude("Hello") as claude:  # from a thread: for plain tests, asyncio, other processes
        openai.OpenAI(base_url=claude.url, api_key=claude.api_key)...

With `real=True` both put real Claude Code behind the script, which then finds nothing of your environment or login.

    async with MessagesApi.serving(Reply("Hello", usage=Usage(output_tokens=1))) as api:
        ...  # run a client of Anthropic's API with api.base_url; for Claude Code itself use `real=True`
        assert api.requests[0].last_user_text == "Hi"

Importing this needs only trio and h11. `__all__` is public; `docs/testing.md` lists it.
"""

import importlib
from typing import TYPE_CHECKING

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
    AnswerLike,
    Cut,
    Die,
    Garbage,
    Hang,
    HttpError,
    Json,
    Pause,
    Reply,
    Step,
    StopReason,
    Text,
    Thinking,
    ToolUse,
    Usage,
)
from claude_openai.standin.server import MessagesApi, Script

if TYPE_CHECKING:
    from claude_openai.testing.answers import ScriptError, ScriptLike
    from claude_openai.testing.fake import FakeClaude
    from claude_openai.testing.requests import FakeRequest, Outcome
    from claude_openai.testing.running import RunningFakeClaude, running_fake_claude
    from claude_openai.testing.serving import fake_claude
else:
    # Imported when used: the fake needs the HTTP stack, `MessagesApi` only trio and h11.
    _LATER = {
        "ScriptError": "answers",
        "ScriptLike": "answers",
        "FakeClaude": "fake",
        "fake_claude": "serving",
        "FakeRequest": "requests",
        "Outcome": "requests",
        "RunningFakeClaude": "running",
        "running_fake_claude": "running",
    }

    def __getattr__(name: str) -> object:
        if name in _LATER:
            return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "API_ERROR",
    "AUTHENTICATION_ERROR",
    "NOT_FOUND_ERROR",
    "OVERLOADED_ERROR",
    "PERMISSION_ERROR",
    "PROMPT_TOO_LONG",
    "RATE_LIMIT_ERROR",
    "REQUEST_TOO_LARGE",
    "Answer",
    "AnswerLike",
    "Cut",
    "Die",
    "FakeClaude",
    "FakeRequest",
    "Garbage",
    "Hang",
    "HttpError",
    "Json",
    "MessagesApi",
    "Outcome",
    "Pause",
    "RecordedRequest",
    "Reply",
    "RunningFakeClaude",
    "Script",
    "ScriptError",
    "ScriptLike",
    "Step",
    "StopReason",
    "Text",
    "Thinking",
    "ToolUse",
    "Usage",
    "fake_claude",
    "running_fake_claude",
]
