"""Claude's web search through OpenAI's fields, on the bundled CLI and a stand-in for Claude's API."""

import json
from pathlib import Path
from typing import Any, Final, cast

import pytest

from claude_openai.testing import Hang, Json, Reply
from tests.http_client import texts
from tests.openai_schema import validate
from tests.real.call import MODEL, Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving
from tests.real.openai_package import with_the_package
from tests.real.tool_turns import READ, upstream, use
from tests.real.web_searches import ANSWER, SOURCES, found, is_search, search_call, searching

pytestmark = needs_claude

KEPT: Final[dict[str, Any]] = {"web_search": True, "max_idle_sessions": 2}
SEARCH: Final = {"type": "web_search"}
WHOLE: Final = f"I look.\n\n{ANSWER}"
FUNCTION: Final[dict[str, Any]] = {"type": "function", **cast("dict[str, Any]", READ["function"])}
LINK: Final = "[library](https://trio.readthedocs.io#x)"


async def respond(served: Served, given: Any, **fields: Any) -> tuple[dict[str, Any], str]:
    body = {"model": MODEL, "input": given, "tools": [SEARCH], **fields}
    async with Call.open(served.url, body, "/v1/responses") as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return answer, call.headers["x-claude-openai-conversation"]


def own(requests: Any) -> list[Any]:
    """Return the requests of turns, without those of searches."""
    return [request for request in requests if not is_search(request)]


@on_both_backends
async def test_a_chat_with_search_options_cites_the_results(tmp_path: Path, backend: str) -> None:
    reply = searching("I look.", search_call(), answers=[Reply(*map(str, ANSWER))] * 2)
    async with serving(tmp_path, reply, backend=backend, web_search=True) as served:
        async with Call.open(served.url, chat("What is trio?", web_search_options={})) as call:
            status, answer = await call.answer()
        assert status == 200, answer
        validate("CreateChatCompletionResponse", answer)
        message = answer["choices"][0]["message"]
        assert message["content"] == WHOLE
        (citation,) = message["annotations"]
        cited = citation["url_citation"]
        assert WHOLE[cited["start_index"] : cited["end_index"]] == LINK
        assert (cited["title"], cited["url"]) == SOURCES[0]
        # The tokens of the search count too, and its price: a cent.
        assert answer["usage"]["prompt_tokens"] == 30
        assert 0.01 < answer["usage"]["cost_usd"] < 0.011


async def test_claude_gets_the_request_and_the_tool_web_search_and_nothing_else(tmp_path: Path) -> None:
    reply = searching("I look.", search_call(), answers=[Reply(ANSWER)])
    async with serving(tmp_path, reply, **KEPT) as served:
        await respond(served, "What is trio?", instructions="Be brief.", tools=[SEARCH, FUNCTION])
        first, second = own(served.api.requests)
        assert sorted(first.tools or ()) == ["WebSearch", "mcp__openai__read"]
        assert upstream(first) == [("user", ["What is trio?"])]
        assert [block["text"] for block in first.body["system"]][2:] == ["Be brief."]
        # The result of the search alone is added: no other notes.
        assert [role for role, _ in upstream(second)] == ["user", "assistant", "user"]
        ((_, result),) = upstream(second)[-1][1]
        assert result.startswith('Web search results for query: "python trio"')
        assert len(served.api.requests) == 3


@pytest.mark.long
async def test_a_streamed_chat_has_its_citations_in_a_chunk(tmp_path: Path) -> None:
    reply = searching("I look.", search_call(), answers=[Reply(*ANSWER)])
    async with serving(tmp_path, reply, **KEPT) as served:
        body = chat("What is trio?", stream=True, web_search_options={"search_context_size": "low"})
        async with Call.open(served.url, body) as call:
            assert await call.status() == 200
            events = await call.events()
    assert "".join(texts(events)) == WHOLE
    annotations: list[Any] = [*texts(events, "annotations")]
    ((citation,),) = annotations
    cited = citation["url_citation"]
    assert WHOLE[cited["start_index"] : cited["end_index"]] == LINK


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_package_reads_searches_and_citations(tmp_path: Path, stream: bool) -> None:
    reply = searching("I look.", search_call(), answers=[Reply(*ANSWER)])
    fields: dict[str, Any] = {
        "model": MODEL,
        "input": "What is trio?",
        "tools": [{"type": "web_search_preview"}],
        "include": ["web_search_call.action.sources"],
    }

    def ask(client: Any) -> tuple[Any, list[str]]:
        if not stream:
            return client.responses.create(**fields), []
        with client.responses.stream(**fields) as events:
            kinds = [event.type for event in events]
            return events.get_final_response(), kinds

    async with serving(tmp_path, reply, **KEPT) as served:
        response, kinds = await with_the_package(served, ask)
    before, search, after = response.output
    assert [item.type for item in response.output] == ["message", "web_search_call", "message"]
    assert (search.status, search.action.type, search.action.query) == ("completed", "search", "python trio")
    assert [source.url for source in search.action.sources] == [url for _, url in SOURCES]
    assert before.content[0].annotations == []
    (cited,) = after.content[0].annotations
    assert after.content[0].text[cited.start_index : cited.end_index] == LINK
    assert (cited.title, cited.url) == SOURCES[0]
    assert response.output_text == WHOLE
    if stream:
        of_search = [kind for kind in kinds if "web_search_call" in kind or "annotation" in kind]
        assert of_search == [
            "response.web_search_call.in_progress",
            "response.web_search_call.searching",
            "response.web_search_call.completed",
            "response.output_text.annotation.added",
        ]


async def test_the_next_turn_continues_the_conversation_that_has_searched(tmp_path: Path) -> None:
    reply = searching("I look.", search_call(), answers=[Reply(ANSWER), Reply("Yes."), Reply("Yes."), Reply("Again.")])
    async with serving(tmp_path, reply, **KEPT) as served:
        first, way = await respond(served, "What is trio?")
        assert way == "new"
        history = [{"role": "user", "content": "What is trio?"}, *first["output"], {"role": "user", "content": "Sure?"}]
        second, way = await respond(served, history)
        assert (second["output"][-1]["content"][0]["text"], way) == ("Yes.", "continued")
        assert "Web search results" in str(own(served.api.requests)[-1].messages)
        edited = [*history[:-1], {"role": "user", "content": "Really?"}]
        _, way = await respond(served, edited)
        assert way == "rewound"
        assert "Web search results" in str(own(served.api.requests)[-1].messages)
        # Without the tool it is another conversation, which has the texts only.
        _, way = await respond(served, history, tools=[])
        assert way == "replayed"
        answer = "".join(upstream(served.api.requests[-1])[1][1])
        assert answer == WHOLE


@pytest.mark.long
async def test_claude_searches_and_then_calls_a_function_of_the_client(tmp_path: Path) -> None:
    tools = [SEARCH, FUNCTION]
    reply = searching("I look.", search_call(), answers=[Reply("I read.", use(1)), Reply(ANSWER)])
    async with serving(tmp_path, reply, **KEPT) as served:
        first, _ = await respond(served, "What is trio?", tools=tools)
        kinds = [item["type"] for item in first["output"]]
        assert kinds == ["message", "web_search_call", "message", "function_call"]
        history = [{"role": "user", "content": "What is trio?"}, *first["output"]]
        result = {"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "it is"}
        second, way = await respond(served, [*history, result], tools=tools)
        assert way == "parked"
        assert second["output"][-1]["content"][0]["text"] == ANSWER


async def test_a_search_beside_a_call_of_the_client_ends_with_the_next_answer(tmp_path: Path) -> None:
    tools = [SEARCH, FUNCTION]
    reply = searching("I look.", search_call(), use(1), answers=[Reply(ANSWER)])
    async with serving(tmp_path, reply, **KEPT) as served:
        first, _ = await respond(served, "What is trio?", tools=tools)
        search, call = first["output"][1:]
        assert (search["type"], search["status"], call["type"]) == ("web_search_call", "searching", "function_call")
        history = [{"role": "user", "content": "What is trio?"}, *first["output"]]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "it is"}
        second, way = await respond(served, [*history, result], tools=tools)
        assert way == "parked"
        (message,) = second["output"]
        assert [each["title"] for each in message["content"][0]["annotations"]] == ["Trio"]


@pytest.mark.long
@pytest.mark.parametrize("error", ["max_uses_exceeded", "unavailable"])
async def test_failed_search_has_the_status_failed_and_the_answer_goes_on(tmp_path: Path, error: str) -> None:
    reply = searching(search_call(), results=found(error=error), answers=[Reply(ANSWER)])
    async with serving(tmp_path, reply, **KEPT) as served:
        answer, _ = await respond(served, "What is trio?")
        search, message = answer["output"]
        assert search["status"] == "failed"
        assert message["content"][0]["annotations"] == []
        assert error in str(served.api.requests[-1].messages)


@pytest.mark.long
@on_both_backends
async def test_search_obeys_allowed_domains_and_max_tool_calls(tmp_path: Path, backend: str) -> None:
    calls = [search_call(1, blocked_domains=["docs.python.org"]), search_call(2)]
    reply = searching(*calls, answers=[Reply(ANSWER)] * 2)
    tool = {"type": "web_search", "filters": {"allowed_domains": ["trio.readthedocs.io"]}}
    async with serving(tmp_path, reply, backend=backend, web_search=True) as served:
        answer, _ = await respond(served, "What is trio?", tools=[tool], max_tool_calls=1)
        (search,) = [request for request in served.api.requests if is_search(request)]
        assert search.body["tools"][0]["allowed_domains"] == ["trio.readthedocs.io"]
        assert "blocked_domains" not in search.body["tools"][0]
        statuses = [item["status"] for item in answer["output"] if item["type"] == "web_search_call"]
        assert statuses == ["completed", "failed"]
        assert "No more web searches" in str(served.api.requests[-1].messages)


@pytest.mark.long
async def test_a_client_that_leaves_during_a_search_ends_its_process(tmp_path: Path) -> None:
    reply = searching("I look.", search_call(), results=Reply(Hang()))
    async with serving(tmp_path, reply, **KEPT) as served:
        async with Call.open(served.url, chat("Hi", stream=True, web_search_options={})) as call:
            assert await call.status() == 200
            search = await served.api.wait_for_request(2)
            assert is_search(search)
            call.leave()
        await search.disconnected.wait()
        await served.processes.wait_no_claude()


@pytest.mark.long
async def test_structured_output_after_a_search_is_the_answer(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    text = {"format": {"type": "json_schema", "name": "it", "schema": schema}}
    reply = searching("I look.", search_call(), answers=[Reply(Json({"a": "b"})), Reply("Done.")])
    async with serving(tmp_path, reply, **KEPT) as served:
        answer, _ = await respond(served, "What is trio?", text=text)
        assert json.loads(answer["output"][-1]["content"][0]["text"]) == {"a": "b"}


@pytest.mark.long
async def test_search_with_a_tool_mode_offers_both(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    reply = searching(search_call(), answers=[Reply(ANSWER)])
    settings: dict[str, Any] = {"allowed_working_directory_prefixes": (tmp_path / "work",), "web_search": True}
    async with serving(tmp_path, reply, **settings) as served:
        answer, _ = await respond(served, "What is trio?", claude={"toolMode": "readonly"}, max_tool_calls=1)
        assert sorted(served.api.requests[0].tools or ()) == ["Glob", "Grep", "Read", "WebSearch"]
        assert [item.get("status") for item in answer["output"]] == ["completed", "completed"]
        assert "sdk.own_tool_unasked" not in served.log_text()


@pytest.mark.long
async def test_search_is_refused_if_claude_code_has_none(tmp_path: Path) -> None:
    provider = {"CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1", "AWS_REGION": "us-east-1"}
    nowhere = {"ANTHROPIC_BEDROCK_BASE_URL": "http://127.0.0.1:9"}
    async with serving(tmp_path, extra_env={**provider, **nowhere}, **KEPT) as served:
        async with Call.open(served.url, chat("Hi", web_search_options={})) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["code"]) == (400, "web_search_not_available")
        assert served.api.requests == []
