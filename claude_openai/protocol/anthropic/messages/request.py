"""Parses the body of POST /v1/messages into the same `TurnRequest` that OpenAI's APIs make."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from claude_openai.protocol.anthropic.messages.cache_control import cache_ttl
from claude_openai.protocol.anthropic.messages.content import read_messages, system_texts
from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.limits.budget import Budget, request_budget
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.claude_options import ReasoningEffort
from claude_openai.protocol.turn.output_format import OutputFormat
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import Tool
from claude_openai.protocol.wire.bad_request import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.claude_options import read_claude_options
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.object_schema import output_format
from claude_openai.protocol.wire.request_body import checked_fields, form_beside, whole_number
from claude_openai.protocol.wire.tool_choice import allows_parallel_calls, offered_tools, read_tool_choice
from claude_openai.protocol.wire.tools import MAX_TOOLS, function_tool, without_repeats

__all__ = ["parse_messages_request"]


def parse_messages_request(body: bytes, catalog: ModelCatalog) -> TurnRequest:
    """Read and check a request body.

    Raises:
        BadRequest: with the field at fault in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    advice = "Send an array with at least one user message."
    fields = checked_fields(load_object(body), MESSAGES_FIELDS, "messages", advice)
    claude_model = catalog.resolve(fields["model"])
    budget = request_budget(len(body))
    tools = _tools(fields.get("tools", ()), budget)
    choice = read_tool_choice(fields.get("tool_choice", "auto"), tools)
    options = read_claude_options(fields.get("claude", {}), has_fast_mode=catalog.has_fast_mode(claude_model))
    system = system_texts(fields.get("system"), "system")
    transcript = read_messages(fields["messages"], system, catalog.full_id(claude_model))
    return TurnRequest(
        model=fields["model"],
        claude_model=claude_model,
        system=transcript.system,
        turns=transcript.turns,
        prompt=transcript.prompt,
        tools=offered_tools(tools, choice),
        tool_choice=choice,
        parallel_tool_calls=allows_parallel_calls(fields),
        stream=fields.get("stream", False),
        include_usage=True,
        reasoning_effort=options.effort or _effort(fields),
        options=options,
        user=fields.get("metadata", {}).get("user_id"),
        metadata={},
        max_tokens=whole_number(fields.get("max_tokens")),
        stop=tuple(filter(None, fields.get("stop_sequences", ()))),
        output=form_beside(choice, _output(fields, budget)),
        cache_ttl=cache_ttl(fields),
        # Clients that did not ask for it take the first block as the text.
        show_thinking=fields.get("thinking", {}).get("type", "disabled") != "disabled",
    )


def _tools(value: Sequence[Any], budget: Budget) -> tuple[Tool, ...]:
    if len(value) > MAX_TOOLS:
        raise wrong_value("tools", f"at most {MAX_TOOLS} tools")
    places = (f"tools[{index}]" for index in range(len(value)))
    return without_repeats((where, _tool(item, where, budget)) for where, item in zip(places, value, strict=True))


def _tool(item: Any, where: str, budget: Budget) -> Tool:
    if not isinstance(item, dict):
        raise wrong_type(where, "an object with 'name' and 'input_schema'", item)
    kind = item.get("type") or "custom"
    if kind != "custom":
        why = "which Claude Code cannot offer"
        if str(kind).startswith("web_search"):
            why = "whose results Claude Code does not pass on in this API's form (OpenAI's APIs have web search here)"
        message = f"Tools of type {shorten(str(kind))} are Anthropic's own, {why}. Omit the tool."
        raise unsupported_value(f"{where}.type", message)
    if item.get("input_schema") is None:
        raise missing(f"{where}.input_schema", "Send the JSON Schema of the tool's input.")
    return function_tool(item, where, budget)


def _effort(fields: Mapping[str, Any]) -> ReasoningEffort | None:
    without = "none" if fields.get("thinking", {}).get("type") == "disabled" else None
    return cast("ReasoningEffort | None", fields.get("output_config", {}).get("effort") or without)


def _output(fields: Mapping[str, Any], budget: Budget) -> OutputFormat | None:
    places = {
        "output_config.format": fields.get("output_config", {}).get("format"),
        "output_format": fields.get("output_format"),
    }
    for place, value in places.items():
        if value is not None:
            if value.get("schema") is None:
                raise missing(f"{place}.schema", "Send the JSON Schema of the answer.")
            return output_format(value["schema"], f"{place}.schema", budget)
    return None
