"""Shapes of fields that real clients send although OpenAI's API does not have them, taken from public bug reports.

Each test checks what the bundled CLI sends to Claude for one, over chat, and over Responses where that API has it too.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from claude_openai.protocol.turn.tools import MAX_NAME_CHARS
from claude_openai.protocol.wire.image_files import picture_kind, picture_size
from claude_openai.protocol.wire.media import MAX_SENT_IMAGE_BYTES, MAX_SIDE
from claude_openai.protocol.wire.turns import NO_RESULT, reminder
from claude_openai.testing import Reply, ToolUse
from tests.media_files import PDF
from tests.media_files import _url as data_url
from tests.pictures import PNG, drawn
from tests.real.call import Call, asked_way, chat
from tests.real.harness import Served, needs_claude, serving
from tests.real.heard import is_statement_of_effort
from tests.real.responses_form import CHAT, RESPONSES, as_responses

pytestmark = needs_claude

PNG_URL: Final = data_url(PNG, "image/png")
SCHEMA: Final = {"type": "object", "properties": {"q": {"type": "string"}}}
PEEK: Final = {"type": "function", "function": {"name": "peek", "description": "look at a thing", "parameters": SCHEMA}}
GO: Final = {"role": "user", "content": "go"}
ENV: Final = "You are a coding agent.\n<env>\n  Working directory: /home/ada/shop\n  Platform: darwin\n</env>"
NOTHING: Final = NO_RESULT[0].text


def called(*ids: str, arguments: Any = '{"q":"x"}') -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "peek", "arguments": arguments}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(ident: str, content: Any = "R") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": ident, "content": content}


def says(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def sent(served: Served) -> list[tuple[str, list[Any]]]:
    """The messages of the last request: texts, names of calls, and results with what is in them."""

    def plain(block: dict[str, Any]) -> Any:
        match block["type"]:
            case "text":
                return block["text"]
            case "tool_use":
                return (block["name"].removeprefix("mcp__openai__"), block["input"])
            case "tool_result":
                content = block.get("content") or []
                return ["result", *([content] if isinstance(content, str) else map(plain, content))]
        return block["type"]

    messages = [message for message in served.api.requests[-1].messages if not is_statement_of_effort(message)]
    return [
        (m["role"], [m["content"]] if isinstance(m["content"], str) else list(map(plain, m["content"])))
        for m in messages
    ]


async def ask(served: Served, body: dict[str, Any], path: str = CHAT) -> str:
    """How the request came to its conversation."""
    return await asked_way(served.url, body, path)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, max_idle_sessions=4) as served:
        yield served


SAID_GO = ("user", ["go"])
CALLED = ("assistant", [("peek", {"q": "x"})])
SHAPES: Final[dict[str, tuple[list[dict[str, Any]], list[tuple[str, list[Any]]]]]] = {
    "the user's words end a turn that was interrupted": (
        [GO, called("c"), result("c", "[interrupted by the user]"), says("user", "Stop. Only tell me the time.")],
        [SAID_GO, CALLED, ("user", [["result", "[interrupted by the user]"], "Stop. Only tell me the time."])],
    ),
    "a result ends it": ([GO, called("c"), result("c")], [SAID_GO, CALLED, ("user", [["result", "R"]])]),
    "a call never got a result": (
        [GO, called("c", "d"), result("d"), says("user", "next")],
        [SAID_GO, ("assistant", CALLED[1] * 2), ("user", [["result", NOTHING], ["result", "R"], "next"])],
    ),
    "a message stands between a call and its result": (
        [GO, called("c"), says("user", "wait"), result("c"), result("c")],
        [SAID_GO, CALLED, ("user", [["result", "R"], "wait"])],
    ),
    "the system speaks between a call and its result": (
        [GO, called("c"), says("system", "plan mode"), result("c")],
        [SAID_GO, CALLED, ("user", [["result", "R"], reminder("plan mode").text])],
    ),
    "the system speaks last": (
        [GO, says("assistant", "4"), says("developer", "Answer with the next role.")],
        [SAID_GO, ("assistant", ["4"]), ("user", ["Answer with the next role."])],
    ),
    "an empty message is last": ([GO, says("user", ""), says("assistant", None)], [SAID_GO]),
    "half a surrogate pair": (
        [GO, says("assistant", "half \ud83d here"), says("user", "next")],
        [SAID_GO, ("assistant", ["half \ufffd here"]), ("user", ["next"])],
    ),
    "a result is JSON, a type is null, arguments are an object": (
        [GO, called("c", arguments={"q": "x"}), result("c", {"a": [1]}), says("user", [{"type": None, "text": "x"}])],
        [SAID_GO, CALLED, ("user", [["result", '{"a": [1]}'], "x"])],
    ),
    "a late result ends it": (
        [GO, called("c", "d"), result("c"), says("assistant", "I wait."), result("d", "late")],
        [
            *(SAID_GO, CALLED, ("user", [["result", "R"]])),
            *(("assistant", ["I wait.", *CALLED[1]]), ("user", [["result", "late"]])),
        ],
    ),
    "a result has a PDF": (
        [GO, called("c"), result("c", [{"type": "file", "file": {"file_data": data_url(PDF, "application/pdf")}}])],
        [SAID_GO, CALLED, ("user", [["result", "document"]])],
    ),
}


OF_RESPONSES_TOO: Final = (
    "a call never got a result",
    "a message stands between a call and its result",
    "the system speaks between a call and its result",
    "the system speaks last",
)


@pytest.mark.long
@pytest.mark.parametrize("shape", OF_RESPONSES_TOO)
async def test_a_shape_reaches_claude_over_responses_as_over_chat(served: Served, shape: str) -> None:
    messages, expected = SHAPES[shape]
    await ask(served, as_responses(chat(messages, tools=[PEEK])), RESPONSES)
    assert sent(served) == expected


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_shape_of_the_field_reaches_claude_as_it_is_meant(served: Served, shape: str) -> None:
    messages, expected = SHAPES[shape]
    await ask(served, chat(messages, tools=[PEEK]))
    assert sent(served) == expected


@pytest.mark.long
async def test_claude_gets_no_folder_or_platform_but_the_clients(served: Served) -> None:
    await ask(served, chat([says("system", ENV), says("user", "write notes.txt")], tools=[PEEK]))
    assert sent(served) == [("user", ["write notes.txt"])]
    assert [block["text"] for block in served.api.requests[-1].body["system"]][2:] == [ENV]


@pytest.mark.long
async def test_a_reminder_in_the_middle_keeps_the_conversation_live_and_its_system_prompt(served: Served) -> None:
    messages = [says("system", "S"), says("user", "one")]
    await ask(served, chat(messages))
    messages += [says("assistant", "ok"), says("system", "plan mode is on"), says("user", "two")]
    assert await ask(served, chat(messages)) == "continued"
    messages += [says("assistant", "ok"), says("user", "three")]
    assert await ask(served, chat(messages)) == "continued"
    expected = [
        *(("user", ["one"]), ("assistant", ["ok"]), ("user", [reminder("plan mode is on").text, "two"])),
        *(("assistant", ["ok"]), ("user", ["three"])),
    ]
    assert sent(served) == expected
    assert len({str(request.body["system"][2:]) for request in served.api.requests}) == 1
    assert await ask(served, chat(messages, user="another")) == "replayed"
    assert sent(served) == expected


@pytest.mark.long
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_what_clients_send_for_no_limit_and_no_effort_is_the_models_own(served: Served, path: str) -> None:
    said = {"messages": [GO]} if path == CHAT else {"input": "go"}
    limit = "max_tokens" if path == CHAT else "max_output_tokens"
    for unset in ({}, {limit: -1, "reasoning": {"effort": "default"}, "tool_choice": ""}):
        await ask(served, {"model": "claude-sonnet", **said, **unset}, path)
        assert sent(served) == [SAID_GO]
    plain, with_unset = (
        {key: request.body.get(key) for key in ("max_tokens", "thinking", "output_config")}
        for request in served.api.requests
    )
    assert plain == with_unset


@pytest.mark.long
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_a_system_prompt_beside_the_conversation_is_heard(served: Served, path: str) -> None:
    said = {"messages": [GO]} if path == CHAT else {"input": "go"}
    parts = [{"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}}]
    await ask(served, {"model": "claude-sonnet", **said, "system": parts, "instructions": "One."}, path)
    assert sent(served) == [SAID_GO]
    assert [block["text"] for block in served.api.requests[-1].body["system"]][2:] == ["One.\n\nTwo."]


@pytest.mark.long
async def test_a_body_of_the_responses_api_gets_a_chat_completion_where_one_is_asked_for(served: Served) -> None:
    served.api.enqueue(Reply(ToolUse("mcp__openai__peek", {"q": "x"}, "toolu_1")))
    body: dict[str, Any] = {"model": "claude-sonnet", "input": [GO], "tools": [FLAT], "instructions": "Be brief."}
    async with Call.open(served.url, body) as call:
        status, answer = await call.answer()
    assert (status, answer["object"]) == (200, "chat.completion")
    (made,) = answer["choices"][0]["message"]["tool_calls"]
    function = made["function"]
    body["input"] += [
        {"type": "function_call", "call_id": made["id"], **function},
        {"type": "function_call_output", "call_id": made["id"], "output": "R"},
    ]
    assert await ask(served, body) == "parked"
    assert sent(served) == [SAID_GO, CALLED, ("user", [["result", "R"]])]


@pytest.mark.parametrize("url", [PNG_URL.rstrip("="), quote(PNG_URL, safe=":/;,"), "data:image/png," + quote(PNG)])
async def test_a_data_url_that_a_browser_reads_is_read(served: Served, url: str) -> None:
    await ask(served, chat([says("user", [{"type": "image_url", "image_url": {"url": url}}])]))
    assert pictures_of(served) == [PNG_URL.partition(",")[2]]


OF_CLAUDE = {"name": "peek", "description": "look at a thing", "input_schema": SCHEMA}
FLAT = {"type": "function", "name": "peek", "description": "look at a thing", "parameters": SCHEMA}


@pytest.mark.long
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("tool", [PEEK, FLAT, OF_CLAUDE, {"type": "custom", **OF_CLAUDE}])
async def test_a_tool_and_a_choice_are_taken_in_each_form(served: Served, tool: dict[str, Any], path: str) -> None:
    served.api.enqueue(Reply(ToolUse("mcp__openai__peek", {"q": "x"}, "toolu_1")))
    asked = {"messages": [GO]} if path == CHAT else {"input": [GO]}
    choice = {"type": "tool", "name": "peek"}
    await ask(served, {"model": "claude-sonnet", **asked, "tools": [tool, tool], "tool_choice": choice}, path)
    (offered,) = served.api.requests[-1].body["tools"]
    described = (offered["name"], offered["description"], offered["input_schema"]["properties"])
    assert described == ("mcp__openai__peek", "look at a thing", SCHEMA["properties"])


async def test_blocks_of_claudes_api_come_with_its_tools(served: Served) -> None:
    use_part = {"type": "tool_use", "id": "c", "name": "peek", "input": {"q": "x"}}
    result_part = {"type": "tool_result", "tool_use_id": "c", "content": "R"}
    await ask(served, chat([GO, says("assistant", [use_part]), says("user", [result_part])], tools=[OF_CLAUDE]))
    assert sent(served) == [SAID_GO, CALLED, ("user", [["result", "R"]])]


PAIR: Final = '{"items":[{"type":"number"},{"type":"number"}],"additionalItems":false}'
# The draft, the properties by it and as Claude gets them, arguments that break the draft, and arguments that fit.
OF_OLDER_DRAFTS: Final[Sequence[tuple[str, Any, Any, Any, Any]]] = (
    (
        "draft-07",
        {"at": {"type": "array", **json.loads(PAIR)}},
        {"at": {"type": "array", "description": f"(JSON Schema: {PAIR})"}},
        {"at": [1, 2, 3]},
        {"at": [1, 2]},
    ),
    (
        "draft-04",
        {"ttl": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}},
        {"ttl": {"type": "integer", "exclusiveMinimum": 0}},
        {"ttl": 0},
        {"ttl": 1},
    ),
    (
        "draft-03",
        {"q": {"type": "string", "required": True}},
        {"q": {"type": "string", "description": '(JSON Schema: {"required":true})'}},
        {},
        {"q": "x"},
    ),
)


@pytest.mark.long
@pytest.mark.parametrize(("draft", "properties", "translated", "bad", "good"), OF_OLDER_DRAFTS)
async def test_schema_of_an_older_draft_reaches_claude_translated_and_a_call_is_checked_by_the_draft(
    served: Served, draft: str, properties: Any, translated: Any, bad: Any, good: Any
) -> None:
    schema = {"$schema": f"http://json-schema.org/{draft}/schema#", "type": "object", "properties": properties}
    tool = {"type": "function", "function": {"name": "geo", "parameters": schema}}
    served.api.enqueue(*(Reply(ToolUse("mcp__openai__geo", each)) for each in (bad, good)))
    async with Call.open(served.url, chat([GO], tools=[tool])) as call:
        _, answer = await call.answer()
    (made,) = answer["choices"][0]["message"]["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == good
    (offered,) = served.api.requests[0].body["tools"]
    assert offered["input_schema"]["properties"] == translated
    _, refused, (_, ((_, problem),)) = sent(served)
    assert refused == ("assistant", [("geo", bad)])
    assert "do not match" in problem
    assert len(served.api.requests) == 2


@pytest.mark.long
async def test_as_many_tools_as_mcp_servers_have_are_offered_with_long_names(served: Served) -> None:
    names = [f"{number:03}_{'x' * (MAX_NAME_CHARS - 4)}" for number in range(200)]
    await ask(served, chat([GO], tools=[{"type": "function", "function": {"name": name}} for name in names]))
    assert served.api.requests[-1].tools == [f"mcp__openai__{name}" for name in names]


@pytest.mark.long
async def test_a_long_name_is_the_same_in_the_offer_and_in_the_history(served: Served) -> None:
    name = "n" * MAX_NAME_CHARS
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": name}}]
    await ask(served, chat([GO, {"role": "assistant", "tool_calls": [call]}, result("c")], tools=tools))
    assert sent(served)[1] == ("assistant", [(name, {})])
    assert served.api.requests[-1].tools == [f"mcp__openai__{name}"]


@pytest.mark.long
async def test_the_longest_names_are_called_in_a_live_conversation_and_from_a_namespace(served: Served) -> None:
    name = "n" * MAX_NAME_CHARS
    served.api.enqueue(Reply(ToolUse(f"mcp__openai__{name}", {}, "toolu_1")))
    tools = [{"type": "function", "function": {"name": name}}]
    await ask(served, chat([GO], tools=tools))
    call = {"id": "toolu_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    history: list[dict[str, Any]] = [GO, {"role": "assistant", "tool_calls": [call]}, result("toolu_1")]
    assert await ask(served, chat(history, tools=tools)) == "parked"
    assert sent(served)[1:] == [("assistant", [(name, {})]), ("user", [["result", "R"]])]
    short = name[len("agents__") :]
    served.api.enqueue(Reply(ToolUse(f"mcp__openai__agents__{short}", {}, "toolu_2")))
    space = {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": short}]}
    async with Call.open(served.url, {"model": "claude-sonnet", "input": [GO], "tools": [space]}, RESPONSES) as called:
        status, answer = await called.answer()
    (item,) = answer["output"]
    assert (status, item["type"], item["namespace"], item["name"]) == (200, "function_call", "agents", short)
    assert served.api.requests[-1].tools == [f"mcp__openai__agents__{short}"]


@pytest.mark.long
async def test_a_session_of_codex_that_was_begun_elsewhere_goes_on(served: Served) -> None:
    items = [
        GO,
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin Patch"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "exec"}]},
        {"type": "function_call", "call_id": "c2", "name": "exec", "arguments": "{}"},
        {"role": "developer", "content": "The user pressed Esc."},
        says("user", "next"),
    ]
    await ask(served, {"model": "claude-sonnet", "input": items}, RESPONSES)
    assert sent(served) == [
        *(SAID_GO, ("assistant", [("apply_patch", {"input": "*** Begin Patch"})]), ("user", [["result", "ok"]])),
        ("assistant", [("exec", {})]),
        ("user", [["result", NOTHING], reminder("The user pressed Esc.").text, "next"]),
    ]
    assert served.api.requests[-1].tools == ["mcp__openai__exec"]


@pytest.mark.long
async def test_pdf_for_a_parked_turn_is_sent_with_the_whole_history(served: Served) -> None:
    served.api.enqueue(Reply(ToolUse("mcp__openai__peek", {"q": "x"}, "toolu_1")))
    await ask(served, chat([GO], tools=[PEEK]))
    shown = result("toolu_1", [{"type": "file", "file": {"file_data": data_url(PDF, "application/pdf")}}])
    assert await ask(served, chat([GO, called("toolu_1"), shown], tools=[PEEK])) == "replayed"
    assert sent(served) == [SAID_GO, CALLED, ("user", [["result", "document"]])]


@pytest.mark.long
@pytest.mark.parametrize(
    ("draw", "way"),
    [
        pytest.param(partial(drawn, "RGB", (9000, 40), "PNG"), "parked", id="wide"),
        # Even reduced these are too long for the result of a call that waits.
        pytest.param(
            partial(drawn, "RGB", (1900, 1900), "PNG", noise=True, compress_level=1), "replayed", id="of 5 MB"
        ),
        pytest.param(partial(drawn, "RGB", (1000, 1000), "JPEG", noise=True, quality=85), "replayed", id="of 0.7 MB"),
    ],
)
async def test_a_picture_is_the_same_in_a_prompt_a_history_and_a_result(
    served: Served, draw: Callable[[], bytes], way: str
) -> None:
    large = [{"type": "image_url", "image_url": {"url": data_url(draw(), "image/png")}}]
    served.api.enqueue(Reply("ok"), Reply(ToolUse("mcp__openai__peek", {"q": "x"}, "toolu_1")))
    messages = [says("user", large)]
    await ask(served, chat(messages, tools=[PEEK]))
    pictures = [pictures_of(served)]
    messages += [says("assistant", "ok"), says("user", "look")]
    assert await ask(served, chat(messages, tools=[PEEK])) == "continued"
    messages += [called("toolu_1"), result("toolu_1", large)]
    assert await ask(served, chat(messages, tools=[PEEK])) == way
    pictures.append(pictures_of(served))
    assert await ask(served, chat(messages, tools=[PEEK], user="another")) == "replayed"
    pictures.append(pictures_of(served))
    assert [len(each) for each in pictures] == [1, 2, 2]
    (data,) = {data for each in pictures for data in each}
    raw = base64.b64decode(data)
    assert len(raw) <= MAX_SENT_IMAGE_BYTES
    assert max(picture_size(picture_kind(raw), raw)) <= MAX_SIDE
    assert sent(served)[0] == ("user", ["image"])  # with no text of Claude Code's about its size


def pictures_of(served: Served) -> list[str]:
    """The data of all pictures of the last request, wherever they stand."""
    found: list[str] = []
    stack: list[Any] = list(served.api.requests[-1].messages)
    while stack:
        value = stack.pop()
        if isinstance(value, dict) and value.get("type") == "image":
            found.append(value["source"]["data"])
        elif isinstance(value, dict | list):
            stack.extend(value.values() if isinstance(value, dict) else value)
    return found
