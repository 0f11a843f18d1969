"""Turns a recorded answer into a script for the stand-in of Claude's API."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from claude_openai.cassettes.entry import Answer, Call, Cancelled, Completed, Entry, Failed, Passage
from claude_openai.protocol.turn.events import FinishReason
from claude_openai.standin.script import Answer as ScriptAnswer
from claude_openai.standin.script import (
    Block,
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
)

__all__ = ["script_of"]

_STOP_REASONS: Final[dict[FinishReason, StopReason]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
}
# Code of the client's error -> the status and the type of the error of Claude's API that causes it.
_UPSTREAM: Final = {
    "context_length_exceeded": (400, "invalid_request_error"),
    "upstream_authentication_error": (401, "authentication_error"),
    "model_not_found": (404, "not_found_error"),
    "request_too_large": (413, "request_too_large"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "insufficient_quota": (429, "rate_limit_error"),
    "server_is_overloaded": (529, "overloaded_error"),
}
_OTHER: Final = (500, "api_error")
_TIMEOUTS: Final = ("timeout", "turn_timeout", "client_stalled")
# Claude Code reports a rate limit with a longer wait as a used-up quota.
_QUOTA_WAIT_S: Final = 3600


def script_of(entry: Entry, structured: Callable[[Any], Step] | None = None) -> ScriptAnswer:
    """Return what the stand-in must answer so that the client gets the recorded answer.

    A client that left gets what it got before, and then nothing until it leaves. Names of tools are the client's.

    Args:
        entry: the recorded turn.
        structured: makes the step that answers a request for JSON, from its value; without it, JSON is a text.
    """
    answer = entry.answer
    steps = list(_steps(answer))
    if structured is not None and _wants_json(entry) and (value := _json_of(answer)) is not None:
        steps = [*(step for step in steps if not isinstance(step, Text)), structured(value)]
    match answer.end:
        case Completed(finish_reason, used):
            usage = Usage(
                used.input_tokens,
                used.output_tokens,
                used.cache_read_tokens,
                used.cache_write_tokens,
                used.reasoning_tokens,
            )
            return Reply(*steps, stop_reason=_STOP_REASONS[finish_reason], usage=usage)
        case Cancelled():
            return Reply(*steps, Hang())
        case Failed(code=code) if code in _TIMEOUTS:
            return Reply(*steps, Hang())
        case Failed() if answer.content:
            return Reply(*steps, UpstreamErrorEvent("api_error", answer.end.message))
        case Failed():
            return _refusal(answer.end)


def _refusal(failed: Failed) -> HttpError:
    if failed.status == 400:
        status, kind = _UPSTREAM["context_length_exceeded"]
    else:
        status, kind = _UPSTREAM.get(failed.code or "", _OTHER)
    wait = failed.retry_after_s
    if failed.code == "insufficient_quota":
        wait = max(wait or 0, _QUOTA_WAIT_S)
    waiting = {} if wait is None else {"retry-after": str(wait)}
    # The recorded error is the last one, after Claude Code's own retries.
    return HttpError(status, kind, failed.message, {"x-should-retry": "false", **waiting})


def _steps(answer: Answer) -> Iterator[Step]:
    """Yield the content, with the recorded pauses; each pause is in the block that it precedes."""
    clock = _Clock()
    for block in answer.content:
        if isinstance(block, Call):
            yield from clock.until(block.ms)
            yield ToolUse(id=block.id, name=block.name, input=block.arguments)
        else:
            yield _passage(block, clock)
    yield from clock.until(answer.ms)


def _passage(passage: Passage, clock: "_Clock") -> Block:
    pieces: list[Piece] = []
    done = 0
    for ms, chars in passage.deltas or ((None, len(passage.text)),):
        pieces += [*clock.until(ms), passage.text[done : done + chars]]
        done += chars
    return Text(*pieces) if passage.type == "text" else Thinking(*pieces)


class _Clock:
    """The time that has been played, in ms."""

    def __init__(self) -> None:
        self._ms = 0

    def until(self, ms: int | None) -> Iterator[Pause]:
        if ms is not None and ms > self._ms:
            yield Pause((ms - self._ms) / 1000)
            self._ms = ms


def _wants_json(entry: Entry) -> bool:
    body = entry.request.body
    text = body.get("text")
    form = body.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    return isinstance(form, dict) and form.get("type") in ("json_object", "json_schema")


def _json_of(answer: Answer) -> Any:
    text = "".join(block.text for block in answer.content if isinstance(block, Passage) and block.type == "text")
    try:
        return json.loads(text)
    except ValueError:
        return None
