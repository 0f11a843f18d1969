"""Parses the body of POST /v1/chat/completions into a `TurnRequest`.

`json_body` reads the bytes, `fields` checks each field, `messages` reads the messages, `models` resolves the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from claude_openai.protocol.limits.budget import Budget, request_budget
from claude_openai.protocol.openai.chat.fields import FIELDS, read_cache_ttl, read_effort
from claude_openai.protocol.openai.chat.functions import modern_messages, read_function_call, read_functions
from claude_openai.protocol.openai.chat.messages import read_messages, system_fields
from claude_openai.protocol.openai.response_format import read_response_format
from claude_openai.protocol.openai.web_search import check_allowed
from claude_openai.protocol.turn.claude_options import WebSearch
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import Tool, ToolChoice
from claude_openai.protocol.wire.bad_request import wrong_value
from claude_openai.protocol.wire.claude_options import read_claude_options
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.request_body import checked_fields, form_beside, whole_number
from claude_openai.protocol.wire.tool_choice import allows_parallel_calls, offered_tools, read_choice
from claude_openai.protocol.wire.tools import read_tools

__all__ = ["parse_chat_request", "read_chat_request"]


def parse_chat_request(body: bytes, catalog: ModelCatalog, *, may_search: bool = False) -> TurnRequest:
    """Read and check a request body. Arguments and errors as those of `read_chat_request`."""
    return read_chat_request(load_object(body), len(body), catalog, may_search=may_search)


def read_chat_request(
    loaded: Mapping[str, Any], size: int, catalog: ModelCatalog, *, may_search: bool = False
) -> TurnRequest:
    """Check the fields of a request.

    Args:
        loaded: the fields that are not null.
        size: size of the body in bytes.
        catalog: the known models.
        may_search: whether web search is allowed.

    Raises:
        BadRequest: with the field at fault in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    fields = checked_fields(loaded, FIELDS, "messages", "Send an array with at least one user message.")
    claude_model = catalog.resolve(fields["model"])
    budget = request_budget(size)
    tools, choice, functions = _tools(fields, budget)
    options = read_claude_options(fields.get("claude", {}), has_fast_mode=catalog.has_fast_mode(claude_model))
    if "web_search_options" in fields:
        check_allowed("web_search_options", may_search=may_search)
        options = replace(options, web_search=WebSearch())
    transcript = read_messages(modern_messages(fields["messages"]), budget, system_fields(fields))
    return TurnRequest(
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
        reasoning_effort=options.effort or read_effort(fields),
        options=options,
        user=fields.get("user", fields.get("safety_identifier")),
        metadata=fields.get("metadata", {}),
        max_tokens=whole_number(fields.get("max_completion_tokens", fields.get("max_tokens"))),
        stop=_stops(fields.get("stop", ())),
        output=form_beside(choice, read_response_format(fields.get("response_format", {"type": "text"}), budget)),
        functions=functions,
        prompt_cache_key=fields.get("prompt_cache_key"),
        cache_ttl=read_cache_ttl(fields),
    )


def _tools(fields: Mapping[str, Any], budget: Budget) -> tuple[tuple[Tool, ...], ToolChoice, bool]:
    """Return the tools, the tool choice, and whether the client uses the older `functions`."""
    if fields.get("functions") and fields.get("tools"):
        raise wrong_value("functions", "either 'tools' or 'functions', which are their older form")
    if fields.get("functions"):
        tools = read_functions(fields["functions"], budget)
        return tools, read_function_call(fields.get("function_call", "auto"), tools), True
    tools = read_tools(fields.get("tools", ()), budget)
    return *read_choice(fields.get("tool_choice", "auto"), tools), False


def _stops(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(stop for stop in ([value] if isinstance(value, str) else value) if stop)
