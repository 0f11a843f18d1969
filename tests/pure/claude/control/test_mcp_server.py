"""The MCP server that Claude Code talks to: what it lists, which calls it answers itself, and who waits for whom."""

import json
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.control.mcp_server import METHOD_NOT_FOUND, PROTOCOL_VERSION, ToolServer
from claude_openai.protocol.claude_code.tool_names import SERVER, mcp_name, own_name
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.turn.blocks import TextBlock, ToolResultBlock
from claude_openai.protocol.wire.tools import read_tools
from tests.blocks import result_block

PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOLS = read_tools(
    [
        {"type": "function", "function": {"name": "read", "description": "Reads.", "parameters": PATH}},
        {"type": "function", "function": {"name": "now"}},
    ],
    Budget(),
)


class Harness:
    """A toolbox, and what it writes to Claude Code."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.toolbox = ToolServer(TOOLS, self.lines.append)

    def ask(self, request_id: str, **message: Any) -> None:
        frame = {
            "type": "control_request",
            "request_id": request_id,
            "request": {"subtype": "mcp_message", "server_name": SERVER, "message": {"jsonrpc": "2.0", **message}},
        }
        assert self.toolbox.control_request(frame)

    def call(self, call_id: str, name: str = "read", arguments: Any = None, number: Any = 7) -> None:
        """Ask as Claude Code does for a call of a tool; the request id is that of the call with a prefix."""
        arguments = {"path": "/"} if arguments is None else arguments
        params = {"name": name, "arguments": arguments, "_meta": {"claudecode/toolUseId": call_id}}
        self.ask(f"req_{call_id}", id=number, method="tools/call", params=params)

    def written(self) -> list[tuple[str, dict[str, Any]]]:
        """The request ids and answers written so far, each a whole control response of one line; forgets them."""
        answers = []
        for line in self.lines:
            assert line.endswith("\n")
            assert line.count("\n") == 1
            frame = json.loads(line)
            assert frame.keys() == {"type", "response"}
            assert frame["type"] == "control_response"
            response = frame["response"]
            assert response["subtype"] == "success"
            answer = response["response"]["mcp_response"]
            assert answer.pop("jsonrpc") == "2.0"
            answers.append((response["request_id"], answer))
        self.lines.clear()
        return answers


@pytest.fixture
def harness() -> Harness:
    return Harness()


def result(call_id: str, *texts: str) -> ToolResultBlock:
    return result_block(call_id, *texts)


def texts(*said: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text} for text in said]}


@given(st.text())
def test_claudes_name_of_a_tool_leads_back_to_the_clients(name: str) -> None:
    assert mcp_name(name) == f"mcp__{SERVER}__{name}"
    assert own_name(mcp_name(name)) == name


@pytest.mark.parametrize("name", ["Bash", "mcp__other__read", "read"])
def test_a_tool_that_is_not_the_clients_has_no_name_of_its_own(name: str) -> None:
    assert own_name(name) is None


def test_initialize_lists_the_capabilities(harness: Harness) -> None:
    harness.ask("r1", id=0, method="initialize", params={"protocolVersion": "2026-01-01", "capabilities": {}})
    ((request_id, answer),) = harness.written()
    assert (request_id, answer["id"]) == ("r1", 0)
    assert answer["result"]["protocolVersion"] == PROTOCOL_VERSION
    assert answer["result"]["capabilities"] == {"tools": {}}
    assert answer["result"]["serverInfo"].keys() == {"name", "version"}


def test_the_tools_are_listed_in_their_order_with_their_schemas(harness: Harness) -> None:
    harness.ask("r1", id=1, method="tools/list")
    ((_, answer),) = harness.written()
    listed = answer["result"]["tools"]
    assert [(tool["name"], tool["description"]) for tool in listed] == [("read", "Reads."), ("now", "")]
    assert [tool["inputSchema"] for tool in listed] == [PATH, {"type": "object", "properties": {}}]
    # Without it Claude Code makes calls one after the other, and several would never be parked together.
    assert all(tool["annotations"]["readOnlyHint"] is True for tool in listed)


def test_manifest_agrees_with_the_server(harness: Harness) -> None:
    harness.ask("r1", id=1, method="initialize")
    harness.ask("r2", id=2, method="tools/list")
    (_, hello), (_, listing) = harness.written()
    bound = harness.toolbox.bind()
    assert bound["sdkMcpServers"] == [SERVER]
    assert bound["sdkMcpServerManifests"] == {
        SERVER: {"initializeResult": hello["result"], "toolsListResult": listing["result"]}
    }
    # In the background Claude would go on without the result.
    config = bound["sdkMcpServerConfigs"][SERVER]
    assert config["disableAutoBackground"] is True
    assert config["timeout"] >= 3600 * 1000
    assert json.loads(json.dumps(bound)) == bound


def test_without_tools_there_is_no_server() -> None:
    assert ToolServer((), lambda line: None).bind() == {}


@pytest.mark.parametrize("method", ["ping", "resources/list", "prompts/list", "tools/erase", None])
def test_other_methods_get_an_answer_too(harness: Harness, method: str | None) -> None:
    harness.ask("r1", id=3, method=method)
    ((request_id, answer),) = harness.written()
    assert (request_id, answer["id"]) == ("r1", 3)
    if method == "ping":
        assert answer["result"] == {}
    else:
        assert answer["error"]["code"] == METHOD_NOT_FOUND
        assert str(method) in answer["error"]["message"]


@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/cancelled"])
def test_a_notification_is_acknowledged_to_the_control_protocol(harness: Harness, method: str) -> None:
    harness.ask("r1", method=method)
    ((request_id, answer),) = harness.written()
    assert request_id == "r1"
    assert "error" not in answer


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"request": None},
        {"request_id": "r1", "request": {"subtype": "can_use_tool", "tool_name": "read"}},
        {"request_id": "r1", "request": {"subtype": "hook_callback"}},
        {"request_id": "r1", "request": {"subtype": "new_in_2027"}},
    ],
)
def test_control_requests_that_are_not_for_a_tool_are_left_to_others(harness: Harness, frame: dict[str, Any]) -> None:
    assert harness.toolbox.control_request(frame) is False
    assert harness.written() == []


@pytest.mark.parametrize("number", [0, 7, "seven"])
def test_a_call_waits_for_its_result_and_gets_it_word_for_word(harness: Harness, number: Any) -> None:
    harness.call("toolu_1", number=number)
    assert harness.written() == []
    harness.toolbox.give([result("toolu_1", "4\n2", "\u2028 é")])
    assert harness.written() == [("req_toolu_1", {"id": number, "result": texts("4\n2", "\u2028 é")})]


def test_a_result_without_text_is_an_answer_too(harness: Harness) -> None:
    harness.call("toolu_1")
    harness.toolbox.give([result("toolu_1")])
    assert harness.written() == [("req_toolu_1", {"id": 7, "result": texts()})]


def test_a_result_may_be_there_before_its_call(harness: Harness) -> None:
    harness.toolbox.give([result("toolu_1", "42")])
    assert harness.written() == []
    harness.call("toolu_1")
    assert harness.written() == [("req_toolu_1", {"id": 7, "result": texts("42")})]


UNFIT = ["{}", '{"path":7}', '{"file":"/"}', "[]", '""', "0", "false", "null", '{"path":', '{"path":1e400}', ""]


@pytest.mark.parametrize("arguments", UNFIT)
def test_invalid_call_gets_an_error_that_explains_it(harness: Harness, arguments: str) -> None:
    assert harness.toolbox.problem("read", arguments)
    assert harness.written() == []


@pytest.mark.parametrize("is_given_first", [True, False])
def test_error_result_answers_a_call_made_before_or_after_it(harness: Harness, is_given_first: bool) -> None:
    error = ToolResultBlock("toolu_1", (TextBlock("No such path."),), is_error=True)
    if not is_given_first:
        harness.call("toolu_1")
    harness.toolbox.give([error])
    if is_given_first:
        harness.call("toolu_1")
    assert harness.written() == [("req_toolu_1", {"id": 7, "result": {**texts("No such path."), "isError": True}})]
    harness.toolbox.give([result("toolu_1", "42")])
    assert harness.written() == []


def test_valid_call_reaches_the_client_as_claude_wrote_it(harness: Harness) -> None:
    assert harness.toolbox.problem("read", '{"path":"7"}') is None
    harness.call("toolu_1", arguments={"path": None})
    assert harness.written() == []
    harness.toolbox.give([result("toolu_1", "42")])
    assert harness.written() == [("req_toolu_1", {"id": 7, "result": texts("42")})]


@pytest.mark.parametrize("name", ["erase", mcp_name("read"), ""])
def test_a_call_of_an_unknown_tool_does_not_fit(harness: Harness, name: str) -> None:
    assert repr(name) in (harness.toolbox.problem(name, "{}") or "")


@pytest.mark.parametrize("params", [None, {}, {"name": "now"}, {"name": "now", "arguments": None}])
def test_a_call_without_an_id_is_answered_at_once(harness: Harness, params: Any) -> None:
    harness.ask("r1", id=7, method="tools/call", params=params)
    assert [answer["result"]["isError"] for _, answer in harness.written()] == [True]


def test_a_call_that_is_answered_early_does_not_hold_up_the_others(harness: Harness) -> None:
    harness.call("a")
    harness.call("b")
    harness.call("c")
    harness.toolbox.give([result("b", "2")])
    assert [request_id for request_id, _ in harness.written()] == ["req_b"]
    harness.toolbox.give([result("c", "3"), result("a", "1")])
    assert [request_id for request_id, _ in harness.written()] == ["req_a", "req_c"]


@pytest.mark.parametrize("given_in", list(permutations("abc")))
def test_results_are_passed_on_in_the_order_of_the_calls(harness: Harness, given_in: Sequence[str]) -> None:
    for number, call_id in enumerate("abc"):
        harness.call(call_id, number=number)
    harness.toolbox.give([result(call_id, call_id.upper()) for call_id in given_in])
    assert harness.written() == [
        (f"req_{call_id}", {"id": number, "result": texts(call_id.upper())}) for number, call_id in enumerate("abc")
    ]


STEPS = st.permutations([(kind, call_id) for kind in ("call", "give") for call_id in "abcd"])


@given(STEPS)
def test_calls_and_results_in_any_order_are_matched_once(steps: list[tuple[str, str]]) -> None:
    harness = Harness()
    done: set[tuple[str, str]] = set()
    for kind, call_id in steps:
        done.add((kind, call_id))
        if kind == "call":
            harness.call(call_id)
        else:
            harness.toolbox.give([result(call_id, call_id)])
        both = {("call", call_id), ("give", call_id)} <= done
        expected = [(f"req_{call_id}", {"id": 7, "result": texts(call_id)})] if both else []
        assert harness.written() == expected


def test_result_is_returned_only_once(harness: Harness) -> None:
    harness.toolbox.give([result("a", "42")])
    harness.call("a")
    assert len(harness.written()) == 1
    harness.call("a")
    assert harness.written() == []
