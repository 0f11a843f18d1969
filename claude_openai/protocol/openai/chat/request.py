"""The bytes of POST /v1/chat/completions -> one ChatRequest, checked.

Puts the pure parts together: `json_body` reads the bytes, `fields` knows each field, `history` the messages, `models`
the names. This module deliberately does not know headers, keys, size limits or compression.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget, request_budget
from claude_openai.protocol.openai.bad_request import missing, wrong_value
from claude_openai.protocol.openai.chat.fields import FIELDS, Field, ReasoningEffort, read_effort
from claude_openai.protocol.openai.chat.functions import modern_messages, read_function_call, read_functions
from claude_openai.protocol.openai.chat.messages import read_messages, system_fields
from claude_openai.protocol.openai.claude_options import Agent, read_agent
from claude_openai.protocol.openai.json_body import load_object
from claude_openai.protocol.openai.models import ModelCatalog
from claude_openai.protocol.openai.response_format import OutputFormat, read_response_format
from claude_openai.protocol.openai.tools import (
    Tool,
    ToolChoice,
    allows_parallel_calls,
    offered_tools,
    read_choice,
    read_tools,
)
from claude_openai.protocol.turn.blocks import Turn

__all__ = ["ChatRequest", "checked_fields", "form_beside", "parse_chat_request", "read_chat_request", "whole_number"]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request in our own terms.

    Attributes:
        model: the name the client asked for, echoed in the answer.
        claude_model: the name Claude is started with.
        system: the joined system and developer messages, "" if there are none.
        turns: the history before the prompt.
        prompt: the user turn to answer.
        stream: answer with server-sent events.
        tools: those that Claude is to see, in the client's order.
        tool_choice: whether, and which, tool must be called.
        parallel_tool_calls: whether one answer may call several.
        include_usage: end the stream with a usage chunk.
        reasoning_effort: how long to think, None to leave it to the model.
        max_tokens: bound of the answer in tokens, thinking included; None for the model's own.
        stop: sequences before which the answer ends.
        output: the form the answer must have, None for text, and where a tool must be called.
        functions: the client speaks of functions, not yet of tools, and wants its answer so.
        agent: what is asked of Claude Code beyond an answer.
        user: the client's id for its user, by whichever of its two names.
        metadata: the client's own pairs, for the log.
        prompt_cache_key: the client's name for what it repeats, for the log.
        long_context: more than 200,000 tokens may be used, if the model takes them; the server's to say.
    """

    model: str
    claude_model: str
    system: str
    turns: tuple[Turn, ...]
    prompt: Turn
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    stream: bool
    include_usage: bool
    reasoning_effort: ReasoningEffort | None
    agent: Agent
    user: str | None
    metadata: Mapping[str, str]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    output: OutputFormat | None = None
    functions: bool = False
    prompt_cache_key: str | None = None
    long_context: bool = True


def checked_fields(fields: Mapping[str, Any], table: Mapping[str, Field], needed: str, advice: str) -> dict[str, Any]:
    """The fields of a body that are set, each checked by its entry in the table.

    Args:
        fields: those that are not null.
        table: the fields that are known.
        needed: the one that must be there, beside the model.
        advice: what to send in it.

    Raises:
        BadRequest: with the field at fault in `param`.
    """
    if fields.get("model") in (None, ""):
        raise BadRequest("you must provide a model parameter. GET /v1/models lists the names.", param="model")
    if needed not in fields:
        raise missing(needed, advice)
    known = {name: value for name, value in fields.items() if name not in table or value not in table[name].unset}
    for name, field in table.items():
        if name in known:
            field.check(name, known[name])
    return known


def parse_chat_request(body: bytes, catalog: ModelCatalog) -> ChatRequest:
    """Read and check a request body.

    Raises:
        BadRequest: with the field at fault in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    return read_chat_request(load_object(body), len(body), catalog)


def read_chat_request(loaded: Mapping[str, Any], size: int, catalog: ModelCatalog) -> ChatRequest:
    """Check the fields of a request.

    Args:
        loaded: those that are not null.
        size: of the body, in bytes.
        catalog: the names of models.

    Raises:
        BadRequest: with the field at fault in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    fields = checked_fields(loaded, FIELDS, "messages", "Send an array with at least one user message.")
    claude_model = catalog.resolve(fields["model"])
    budget = request_budget(size)
    tools, choice, functions = _tools(fields, budget)
    agent = read_agent(fields.get("claude", {}))
    transcript = read_messages(modern_messages(fields["messages"]), budget, system_fields(fields))
    return ChatRequest(
        model=fields["model"],
        claude_model=claude_model,
        system=transcript.system,
        turns=transcript.turns,
        prompt=transcript.prompt,
        tools=offered_tools(tools, choice),
        tool_choice=choice,
        parallel_tool_calls=allows_parallel_calls(fields) and not functions,
        stream=fields.get("stream", False),
        include_usage=bool(fields.get("stream_options", {}).get("include_usage")),
        reasoning_effort=agent.effort or read_effort(fields),
        agent=agent,
        user=fields.get("user", fields.get("safety_identifier")),
        metadata=fields.get("metadata", {}),
        max_tokens=whole_number(fields.get("max_completion_tokens", fields.get("max_tokens"))),
        stop=_stops(fields.get("stop", ())),
        output=form_beside(choice, read_response_format(fields.get("response_format", {"type": "text"}), budget)),
        functions=functions,
        prompt_cache_key=fields.get("prompt_cache_key"),
    )


def _tools(fields: Mapping[str, Any], budget: Budget) -> tuple[tuple[Tool, ...], ToolChoice, bool]:
    """The tools, the choice among them, and whether the client calls them functions."""
    if fields.get("functions") and fields.get("tools"):
        raise wrong_value("functions", "either 'tools' or 'functions', which are their older form")
    if fields.get("functions"):
        tools = read_functions(fields["functions"], budget)
        return tools, read_function_call(fields.get("function_call", "auto"), tools), True
    tools = read_tools(fields.get("tools", ()), budget)
    return *read_choice(fields.get("tool_choice", "auto"), tools), False


def form_beside(choice: ToolChoice, output: OutputFormat | None) -> OutputFormat | None:
    """The form of an answer that may have to be a call: beside a form, Claude can give the one and owe the other."""
    return None if choice.mode == "required" else output


def whole_number(value: float | None) -> int | None:
    return None if value is None else int(value)  # JSON may write it as 100.0


def _stops(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(stop for stop in ([value] if isinstance(value, str) else value) if stop)
