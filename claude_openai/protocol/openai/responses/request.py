"""Parses the body of POST /v1/responses into a `TurnRequest`, and the fields that the answer repeats.

Both APIs make the same `TurnRequest`, so backends do not distinguish them. Some clients, such as Cursor's agent mode,
send a Responses body to the Chat Completions API and expect a chat completion as the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from claude_openai.protocol.limits.budget import Budget, request_budget
from claude_openai.protocol.openai.chat.fields import read_cache_ttl, read_effort
from claude_openai.protocol.openai.chat.messages import system_fields
from claude_openai.protocol.openai.chat.request import read_chat_request
from claude_openai.protocol.openai.response_format import json_schema_format, read_response_format
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.openai.responses.input import Recall, added_tools, is_reference, placed_items, read_input
from claude_openai.protocol.openai.responses.response_store import NO_CONVERSATION, Earlier, nothing_earlier
from claude_openai.protocol.openai.responses.stored_form import KeptInput
from claude_openai.protocol.openai.responses.tools import ResponsesTools, read_responses_tools
from claude_openai.protocol.turn.claude_options import ReasoningEffort
from claude_openai.protocol.turn.output_format import OutputFormat
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.bad_request import unsupported_value
from claude_openai.protocol.wire.claude_options import read_claude_options
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.request_body import checked_fields, form_beside, whole_number
from claude_openai.protocol.wire.tool_choice import allows_parallel_calls

__all__ = ["ResponsesRequest", "parse_chat_body", "parse_responses_request", "read_responses_request", "references"]

SOURCES: Final = "web_search_call.action.sources"


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A request for a response.

    Attributes:
        chat: the turn.
        echo: the fields of the answer that repeat the request.
        namespaces: as in `ResponsesTools`.
        kept: the input, for the store; None if nothing is stored.
        previous_id: the id of the response that the request continues.
        background: whether the response is made after the request was answered.
        with_sources: whether the answer has the sources of each web search.
    """

    chat: TurnRequest
    echo: Mapping[str, Any]
    namespaces: Mapping[str, tuple[str, str]]
    kept: KeptInput | None
    previous_id: str | None
    background: bool
    with_sources: bool = False


def parse_responses_request(
    body: bytes,
    catalog: ModelCatalog,
    recall: Recall,
    earlier: Earlier = nothing_earlier,
    *,
    may_store: bool = True,
    may_search: bool = False,
) -> ResponsesRequest:
    """Read and check a request body.

    Args:
        body: the body of the request.
        catalog: the known models.
        recall: returns stored items to which the request refers by id.
        earlier: returns the conversation of a stored response by its id.
        may_store: whether the response may be stored.
        may_search: whether web search is allowed.

    Raises:
        BadRequest: with the invalid field in `param`.
        ModelNotFound: the model is not in the catalog.
        NotFound: the previous response is not stored.
    """
    fields = load_object(body)
    stored = (catalog, recall, earlier)
    return read_responses_request(fields, len(body), *stored, may_store=may_store, may_search=may_search)


def parse_chat_body(body: bytes, catalog: ModelCatalog, *, may_search: bool = False) -> TurnRequest:
    """Read and check the body of a request for a chat completion, which may be in the format of the Responses API.

    Raises:
        BadRequest: with the invalid field in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    fields = load_object(body)
    if fields.get("messages") or "input" not in fields:
        return read_chat_request(fields, len(body), catalog, may_search=may_search)
    stored = (catalog, lambda _: None, nothing_earlier)
    read = read_responses_request(fields, len(body), *stored, may_store=False, may_search=may_search)
    return replace(read.chat, include_usage=fields.get("stream_options", {}).get("include_usage") is True)


def references(fields: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Return the id of the response that a body continues, and those of the items to which it refers."""
    previous, items = fields.get("previous_response_id"), fields.get("input")
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    ids = [item.get("id") for item in found if is_reference(item)]
    return previous if isinstance(previous, str) else None, [each for each in ids if isinstance(each, str)]


def read_responses_request(
    loaded: Mapping[str, Any],
    size: int,
    catalog: ModelCatalog,
    recall: Recall,
    earlier: Earlier,
    *,
    may_store: bool,
    may_search: bool = False,
) -> ResponsesRequest:
    """Check the fields of a body of `size` bytes; otherwise as `parse_responses_request`."""
    fields = checked_fields(loaded, RESPONSES_FIELDS, "input", "Send a text, or an array of items.")
    claude_model = catalog.resolve(fields["model"])
    own = placed_items(fields["input"], recall)
    previous_id = fields.get("previous_response_id")
    before = NO_CONVERSATION if previous_id is None else earlier(previous_id)
    items = [*(("previous_response_id", item) for item in before.items), *own]
    budget = request_budget(size + before.size)
    tools = read_responses_tools(
        fields.get("tools", ()),
        added_tools(items),
        fields.get("tool_choice", "auto"),
        budget,
        may_search=may_search,
        max_searches=whole_number(fields.get("max_tool_calls")),
    )
    options = read_claude_options(fields.get("claude", {}), has_fast_mode=catalog.has_fast_mode(claude_model))
    options = replace(options, web_search=tools.search)
    transcript = read_input(items, system_fields(fields), budget)
    chat = TurnRequest(
        model=fields["model"],
        claude_model=claude_model,
        system=transcript.system,
        turns=transcript.turns,
        prompt=transcript.prompt,
        tools=tools.offered,
        tool_choice=tools.choice,
        parallel_tool_calls=allows_parallel_calls(fields),
        stream=fields.get("stream", False),
        include_usage=True,
        reasoning_effort=options.effort or _effort(fields),
        options=options,
        user=fields.get("user", fields.get("safety_identifier")),
        metadata=fields.get("metadata", {}),
        max_tokens=whole_number(fields.get("max_output_tokens")),
        output=form_beside(tools.choice, _output(fields.get("text", {}).get("format"), budget)),
        prompt_cache_key=fields.get("prompt_cache_key"),
        cache_ttl=read_cache_ttl(fields),
    )
    kept = KeptInput.of([item for _, item in own]) if may_store and fields.get("store", True) else None
    background = fields.get("background", False)
    if background and kept is None:
        why = "'store' is false" if may_store else "nothing is stored here (POST /v1/responses without --no-store does)"
        raise unsupported_value("background", f"A response in the background must be stored, and {why}.")
    echo = _echo(fields, tools, stored=kept is not None)
    with_sources = SOURCES in fields.get("include", ())
    return ResponsesRequest(chat, echo, tools.namespaces, kept, previous_id, background, with_sources)


def _output(form: Mapping[str, Any] | None, budget: Budget) -> OutputFormat | None:
    if form is None:
        return None
    if form.get("type") == "json_schema":
        return json_schema_format(form, "text.format", budget)
    return read_response_format(form, budget, "text.format")


def _effort(fields: Mapping[str, Any]) -> ReasoningEffort | None:
    return read_effort({"reasoning": fields.get("reasoning", {})})  # the Responses API has no `reasoning_effort`


def _echo(fields: Mapping[str, Any], tools: ResponsesTools, *, stored: bool) -> dict[str, Any]:
    # All fields of OpenAI's object, because some clients require them. Fields without an effect are repeated too.
    reasoning = fields.get("reasoning", {})
    user = {"user": fields["user"]} if "user" in fields else {}
    return {
        "background": fields.get("background", False),
        "frequency_penalty": 0.0,
        "instructions": fields.get("instructions"),
        "max_output_tokens": whole_number(fields.get("max_output_tokens")),
        "max_tool_calls": whole_number(fields.get("max_tool_calls")),
        "metadata": fields.get("metadata", {}),
        "model": fields["model"],
        "parallel_tool_calls": fields.get("parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": fields.get("previous_response_id"),
        "prompt_cache_key": fields.get("prompt_cache_key"),
        "reasoning": {"effort": _effort(fields), "summary": reasoning.get("summary") or None},
        "safety_identifier": fields.get("safety_identifier"),
        "service_tier": "default",
        "store": stored,
        "temperature": fields.get("temperature", 1.0),
        "text": _text_echo(fields.get("text", {})),
        "tool_choice": tools.choice_echo,
        "tools": list(tools.echo),
        "top_logprobs": 0,
        "top_p": fields.get("top_p", 1.0),
        "truncation": fields.get("truncation", "disabled"),
        **user,
    }


def _text_echo(text: Mapping[str, Any]) -> dict[str, Any]:
    form = text.get("format") or {"type": "text"}
    keys = ("type", "name", "description", "schema", "strict") if form["type"] == "json_schema" else ("type",)
    verbosity = {"verbosity": text["verbosity"]} if text.get("verbosity") else {}
    return {"format": {key: form[key] for key in keys if form.get(key) is not None}, **verbosity}
