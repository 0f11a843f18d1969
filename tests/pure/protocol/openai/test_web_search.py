"""Web search in requests of OpenAI's APIs: what is offered, left out and refused."""

import json
from typing import Any

import pytest

from claude_openai.errors import BadRequest
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.openai.responses.request import ResponsesRequest, parse_chat_body, parse_responses_request
from claude_openai.protocol.turn.claude_options import WebSearch
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog

CATALOG = ModelCatalog("sonnet", ())
TYPES = ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
SEARCH = {"type": "web_search"}
READ = {"type": "function", "name": "read", "parameters": {"type": "object"}}
HELLO = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> TurnRequest:
    body = {"model": "sonnet", "messages": HELLO, **fields}
    return parse_chat_request(json.dumps(body).encode(), CATALOG, may_search=True)


def respond(*tools: Any, may_search: bool = True, **fields: Any) -> ResponsesRequest:
    body = {"model": "sonnet", "input": "Hi", "tools": list(tools), **fields}
    return parse_responses_request(json.dumps(body).encode(), CATALOG, lambda _: None, may_search=may_search)


def search_of(*tools: Any, **fields: Any) -> WebSearch | None:
    return respond(*tools, **fields).chat.options.web_search


def refusal(*tools: Any, **fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as caught:
        respond(*tools, **fields)
    return caught.value.code, caught.value.param


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"search_context_size": "high", "user_location": None},
        {"search_context_size": None, "user_location": {"type": "approximate", "approximate": {"city": ""}}},
    ],
)
def test_search_options_of_a_chat_offer_the_search(options: dict[str, Any]) -> None:
    assert chat(web_search_options=options).options.web_search == WebSearch()
    assert chat().options.web_search is None


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"search_context_size": "huge"}, "web_search_options.search_context_size"),
        ({"user_location": "here"}, "web_search_options.user_location"),
        (
            {"user_location": {"type": "approximate", "approximate": {"country": "DE"}}},
            "web_search_options.user_location",
        ),
        ({"user_location": {"approximate": 3}}, "web_search_options.user_location.approximate"),
        ([], "web_search_options"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused_at_their_place(options: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat(web_search_options=options)
    assert caught.value.param == param


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_of_the_tool_offers_the_search_and_is_repeated(kind: str) -> None:
    asked = respond({"type": kind}, READ)
    assert asked.chat.options.web_search == WebSearch()
    assert [tool.name for tool in asked.chat.tools] == ["read"]
    assert [tool["type"] for tool in asked.echo["tools"]] == [kind, "function"]


def test_search_without_permission_is_refused_with_the_flag_to_set() -> None:
    with pytest.raises(BadRequest, match="--web-search") as caught:
        respond(SEARCH, may_search=False)
    assert (caught.value.code, caught.value.param) == ("unsupported_value", "tools[0].type")
    body = json.dumps({"model": "sonnet", "messages": HELLO, "web_search_options": {}}).encode()
    with pytest.raises(BadRequest, match="--web-search"):
        parse_chat_body(body, CATALOG)
    assert parse_chat_body(body, CATALOG, may_search=True).options.web_search == WebSearch()


@pytest.mark.parametrize(
    ("access", "may_search", "offered"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_codexs_search_is_left_out_unless_it_is_live_and_allowed(access: bool, may_search: bool, offered: bool) -> None:
    asked = respond({**SEARCH, "external_web_access": access}, may_search=may_search)
    assert (asked.chat.options.web_search is not None) is offered
    assert len(asked.echo["tools"]) == offered


def test_domains_and_the_number_of_searches_are_kept() -> None:
    tool = {**SEARCH, "filters": {"allowed_domains": ["docs.python.org", "a.org/b"], "blocked_domains": None}}
    assert search_of(tool, max_tool_calls=3) == WebSearch(("docs.python.org", "a.org/b"), 3)
    assert search_of({**SEARCH, "filters": {}, "search_content_types": ["text", "image"]}) == WebSearch()
    assert search_of(READ, max_tool_calls=3) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"filters": []}, "filters"),
        ({"filters": {"blocked_domains": ["a.org"]}}, "filters.blocked_domains"),
        ({"filters": {"allowed_domains": "a.org"}}, "filters.allowed_domains"),
        ({"filters": {"allowed_domains": []}}, "filters.allowed_domains"),
        ({"filters": {"allowed_domains": ["a.org"] * 101}}, "filters.allowed_domains"),
        ({"filters": {"allowed_domains": ["a.org", "https://b.org"]}}, "filters.allowed_domains[1]"),
        ({"filters": {"allowed_domains": [3]}}, "filters.allowed_domains[0]"),
        ({"search_content_types": ["image"]}, "search_content_types"),
        ({"search_context_size": 3}, "search_context_size"),
        ({"user_location": {"type": "approximate", "timezone": "Europe/Berlin"}}, "user_location"),
    ],
)
def test_a_tool_that_cannot_be_honoured_is_refused_at_its_place(fields: dict[str, Any], param: str) -> None:
    assert refusal({**SEARCH, **fields})[1] == f"tools[0].{param}"


def test_two_searches_must_be_equal() -> None:
    other = {**SEARCH, "filters": {"allowed_domains": ["a.org"]}}
    assert search_of(SEARCH, SEARCH) == WebSearch()
    assert refusal(SEARCH, other) == ("invalid_value", "tools[1]")


ALLOWED = {"type": "allowed_tools", "mode": "auto"}


@pytest.mark.parametrize(
    ("choice", "searches", "functions"),
    [
        ("auto", True, ["read"]),
        ("none", False, []),
        ({"type": "function", "name": "read"}, False, ["read"]),
        ({**ALLOWED, "tools": [SEARCH]}, True, []),
        ({**ALLOWED, "tools": [SEARCH, {"type": "function", "name": "read"}]}, True, ["read"]),
        ({**ALLOWED, "tools": [{"type": "function", "name": "read"}]}, False, ["read"]),
    ],
)
def test_a_choice_allows_the_search_or_not(choice: Any, searches: bool, functions: list[str]) -> None:
    asked = respond(SEARCH, READ, tool_choice=choice).chat
    assert (asked.options.web_search is not None) is searches
    assert [tool.name for tool in asked.tools] == functions


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "any"},
        SEARCH,
        {"type": "web_search_preview"},
        {**ALLOWED, "mode": "required", "tools": [SEARCH]},
    ],
)
def test_a_choice_that_requires_a_search_is_refused(choice: Any) -> None:
    assert refusal(SEARCH, READ, tool_choice=choice) == ("unsupported_value", "tool_choice")


def test_choice_with_a_malformed_list_is_refused() -> None:
    assert refusal(SEARCH, READ, tool_choice={**ALLOWED, "tools": 3}) == ("invalid_type", "tool_choice.tools")


def test_sources_are_shown_if_they_are_asked_for() -> None:
    assert respond(SEARCH, include=["web_search_call.action.sources"]).with_sources
    assert not respond(SEARCH, include=["reasoning.encrypted_content"]).with_sources
