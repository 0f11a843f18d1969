"""Checks whether a script's answer is possible for a request: its tools, arguments, JSON and `tool_choice`."""

import json
import time
from collections.abc import Iterator

from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT, output_check
from claude_openai.protocol.claude_code.tool_names import mcp_name, own_name
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.standin.naming import in_claude_terms, with_text_as_json
from claude_openai.standin.script import Answer, Cut, Die, Hang, Reply, Text, Thinking, ToolUse, UpstreamErrorEvent
from claude_openai.testing.answers import Answers
from claude_openai.testing.requests import FakeRequest

__all__ = ["misfit", "next_answer"]


def next_answer(answers: Answers, request: FakeRequest, turn: TurnRequest) -> Answer:
    """Return the script's next answer in Claude's terms.

    Args:
        answers: the script.
        request: the client's request.
        turn: its turn.

    Raises:
        ScriptFailed: there is none, or it does not fit the request.
    """
    answer, name = answers.next(request)
    tools = [mcp_name(tool.name) for tool in turn.tools]
    if turn.output is not None:
        answer, tools = with_text_as_json(answer), [*tools, STRUCTURED_OUTPUT]
    answer = in_claude_terms(answer, tools)
    problem = misfit(answer, turn) if answers.strict else None
    if problem is not None:
        raise answers.problem(f"{name} does not fit {request!r}: {problem}")
    return answer


def misfit(answer: Answer, request: TurnRequest) -> str | None:
    """Return why the answer does not fit the request; None if it does, or does not on purpose.

    Args:
        answer: in Claude's terms.
        request: the turn.
    """
    if not isinstance(answer, Reply) or not answer.fits:
        return None
    calls = [step for step in answer.steps if isinstance(step, ToolUse)]
    return next(_problems(answer, calls, request), None)


def _problems(answer: Reply, calls: list[ToolUse], request: TurnRequest) -> Iterator[str]:
    checker = ToolServer(request.tools, lambda _line: None)
    theirs = [call for call in calls if call.fits and call.name != STRUCTURED_OUTPUT]
    for call in theirs:
        name = own_name(call.name)
        if name is None and request.options.has_tools:
            continue
        if name is None:
            offered = ", ".join(tool.name for tool in request.tools) or "none"
            yield f"the tool {call.name!r} was not offered; offered: {offered}"
        elif not _breaks_off(call) and (problem := checker.problem(name, _arguments(call))) is not None:
            yield f"the call of {name!r} does not fit: {problem}"
    if len(theirs) > 1 and not request.parallel_tool_calls:
        yield "it has several calls, and the request has parallel_tool_calls: false"
    if not _is_whole(answer):
        return
    if request.tool_choice.mode == "required" and not calls:
        yield f"it calls no tool, and the request requires {request.tool_choice.name or 'a call'} (tool_choice)"
    if request.output is not None and not any(not call.fits for call in calls):
        yield from _output_problems(calls, request)


def _output_problems(calls: list[ToolUse], request: TurnRequest) -> Iterator[str]:
    outputs = [call for call in calls if call.name == STRUCTURED_OUTPUT]
    check = output_check(request.output, time.thread_time)
    if not outputs and not calls:
        yield "it has no JSON object, and the request has a response_format"
    for output in outputs:
        problem = None if check is None else check(json.loads(_arguments(output)))
        if problem is not None:
            yield f"its JSON does not fit the response_format: {problem}"


def _is_whole(answer: Reply) -> bool:
    """Return whether the reply ends normally: not by a fault, a limit or a refusal."""
    return answer.stop_reason in ("end_turn", "tool_use") and not any(_breaks_off(step) for step in answer.steps)


def _breaks_off(step: object) -> bool:
    if isinstance(step, ToolUse):
        return any(_breaks_off(piece) for piece in step.fragments)
    if isinstance(step, Text | Thinking):
        return any(_breaks_off(piece) for piece in step.pieces)
    return isinstance(step, Cut | Die | Hang | UpstreamErrorEvent)


def _arguments(call: ToolUse) -> str:
    if call.fragments:
        return "".join(piece for piece in call.fragments if isinstance(piece, str))
    return json.dumps(dict(call.input))
