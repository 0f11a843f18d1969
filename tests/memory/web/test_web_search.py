"""Web search over HTTP: who may ask for it, and how searches and citations are sent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.errors import UpstreamError
from claude_openai.protocol.turn.events import (
    SearchEnded,
    SearchStarted,
    Source,
    TextDelta,
    ToolCall,
    TurnFailed,
    TurnStarted,
)
from claude_openai.protocol.turn.request import TurnRequest
from tests.http_client import texts
from tests.memory.harness import Server, chat, serving
from tests.memory.web.test_responses import READ, events_of, whole
from tests.named_keys import bearer, named_key, write_keys
from tests.scripted_backend import TurnStep, full_turn

SEARCH: Final = {"type": "web_search"}
CHAT: Final = chat(web_search_options={})
RESPONSE: Final = {"model": "claude-sonnet", "input": "Hi", "tools": [SEARCH]}
ROUTES: Final = {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSE}
FOUND: Final = SearchEnded("s", (Source("https://a.org/", "A"),))
LINK: Final = "[a](https://a.org/)"
SEARCHED: Final = full_turn("Look. ", SearchStarted("s", "q"), FOUND, "\U0001f600 [a](https://a.", "org/) end")


def _kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


async def _status(server: Server, path: str, **headers: str) -> int:
    return (await server.post(ROUTES[path], path, **headers)).status


@pytest.mark.parametrize("path", ROUTES)
async def test_search_without_the_permission_of_the_server_is_refused(path: str) -> None:
    async with serving() as server:
        answer = await server.post(ROUTES[path], path)
        assert (answer.status, answer.error()["code"]) == (400, "unsupported_value")
        assert "--web-search" in answer.error()["message"]
        assert server.backend.turns == []
    async with serving(web_search=True) as server:
        assert await _status(server, path) == 200
        assert server.backend.turns[0].request.options.web_search is not None


@pytest.mark.parametrize("path", ROUTES)
async def test_search_of_a_named_key_without_permission_is_refused(tmp_path: Path, path: str) -> None:
    keys = write_keys(tmp_path / "keys.json", named_key("ann", web_search=True), named_key("bob"))
    async with serving(web_search=True, keys_file=keys) as server:
        assert await _status(server, path, **bearer("ann")) == 200
        assert await _status(server, path, **bearer("bob")) == 400
    async with serving(keys_file=keys) as server:
        assert await _status(server, path, **bearer("ann")) == 400


async def test_a_chat_has_the_same_citations_streamed_and_not() -> None:
    async with serving(SEARCHED, web_search=True) as server:
        message = (await server.post(CHAT)).json()["choices"][0]["message"]
        events = (await server.post({**CHAT, "stream": True})).events()
    text = message["content"]
    assert text == f"Look. \U0001f600 {LINK} end" == "".join(texts(events))
    (citation,) = message["annotations"]
    assert citation["type"] == "url_citation"
    assert citation["url_citation"] == {"start_index": 8, "end_index": 27, "title": "A", "url": "https://a.org/"}
    assert text[8:27] == LINK
    streamed: list[Any] = [*texts(events, "annotations")]
    assert streamed == [[citation]]


async def test_a_response_has_the_same_items_streamed_and_not() -> None:
    async with serving(SEARCHED, web_search=True) as server:
        response = await whole(server, tools=[SEARCH], include=["web_search_call.action.sources"])
        asked = {**RESPONSE, "stream": True, "include": ["web_search_call.action.sources"]}
        events = events_of(await server.post(asked, "/v1/responses"))
    before, search, after = response["output"]
    assert before["content"][0]["text"] == "Look. "
    assert search["action"] == {
        "type": "search",
        "query": "q",
        "queries": ["q"],
        "sources": [{"type": "url", "url": "https://a.org/"}],
    }
    (citation,) = after["content"][0]["annotations"]
    assert (citation["start_index"], citation["end_index"]) == (2, 21)
    streamed = events[-1]["response"]["output"]
    ids = [item.pop("id") for output in (response["output"], streamed) for item in output]
    assert len(set(ids)) == 6
    assert streamed == response["output"]
    assert _kinds(events)[7:13] == [
        "output_item.done",
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
    ]
    assert [event["annotation"] for event in events if event["type"].endswith("annotation.added")] == [citation]


async def test_parallel_searches_are_items_one_after_the_other() -> None:
    searches = (SearchStarted("s", "q"), SearchStarted("t", "r"), SearchEnded("t", failed=True), FOUND)
    async with serving(full_turn(*searches, "Done."), web_search=True) as server:
        output = (await whole(server, tools=[SEARCH]))["output"]
        events = events_of(await server.post({**RESPONSE, "stream": True}, "/v1/responses"))
    assert [item.get("action", {}).get("query") for item in output] == ["q", "r", None]
    assert [item["status"] for item in output] == ["completed", "failed", "completed"]
    steps = [kind for kind in _kinds(events) if kind.startswith("output_item")]
    assert steps == ["output_item.added", "output_item.done"] * 3


async def test_a_search_that_goes_on_beside_a_call_is_still_searching() -> None:
    call = ToolCall("c", "read", "{}")
    turn = full_turn(SearchStarted("s", "q"), call, finish_reason="tool_calls")
    async with serving(turn, web_search=True) as server:
        search, called = (await whole(server, tools=[SEARCH, READ]))["output"]
    assert (search["status"], called["type"]) == ("searching", "function_call")


async def test_a_turn_that_fails_in_a_search_shows_it_as_failed() -> None:
    turn = (TurnStarted("m"), TextDelta("Hm"), SearchStarted("s", "q"), TurnFailed(UpstreamError("Gone.")))
    async with serving(turn, web_search=True) as server:
        events = events_of(await server.post({**RESPONSE, "stream": True}, "/v1/responses"))
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["completed", "failed"]


async def test_a_stored_response_with_a_search_is_continued_by_its_texts() -> None:
    def script(request: TurnRequest) -> Sequence[TurnStep]:
        return full_turn("Yes.") if request.turns else SEARCHED

    async with serving(script, web_search=True) as server:
        first = await whole(server, tools=[SEARCH])
        await whole(server, "Sure?", tools=[SEARCH], previous_response_id=first["id"])
        answer = server.backend.turns[1].request.turns[1]
        assert answer.text == f"Look. \U0001f600 {LINK} end"


async def test_a_turn_without_text_after_a_search_has_an_empty_message() -> None:
    async with serving(full_turn(SearchStarted("s", "q"), FOUND), web_search=True) as server:
        output = (await whole(server, tools=[SEARCH]))["output"]
    assert [item["type"] for item in output] == ["web_search_call", "message"]
