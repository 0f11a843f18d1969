"""The client's tools as an MCP server inside this process, and the calls that wait for the client's results.

Claude Code asks for tools over its control protocol (`mcp_message`). This is the whole of the server that it talks to:
it lists the tools and takes calls. A call waits until its result is given: by the client's next request, or by the turn
for a call that does not fit, so that Claude corrects itself. Results are kept by id, since Claude Code calls some tools
only after others have returned. All bookkeeping is synchronous; what is to be written goes to a channel.

Trap: what Claude Code passes on is not what Claude wrote. It makes "5" a 5 where the schema asks for a number, and of
arguments that are no object it makes an empty one. So a call is judged once, by what Claude wrote and the client would
get, and never again by what comes here.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from claude_openai.protocol.claude_code.argument_checker import ArgumentChecker
from claude_openai.protocol.claude_code.tool_names import SERVER
from claude_openai.protocol.json_schema.tool_dialect import tool_schema
from claude_openai.protocol.openai.json_body import load_finite
from claude_openai.protocol.turn.blocks import ResultPart, TextBlock, ToolResultBlock
from claude_openai.protocol.turn.tools import Tool

__all__ = ["ToolServer", "fit_in_mcp_result"]

PROTOCOL_VERSION = "2025-11-25"
# Calls wait on a person. The server's own bound ends them long before this one.
CALL_TIMEOUT_MS = 24 * 3600 * 1000
# The largest limit that Claude Code accepts; a longer result goes into a file, which Claude is told to read.
MAX_RESULT_CHARS = 500_000
METHOD_NOT_FOUND = -32601


def fit_in_mcp_result(results: Sequence[ToolResultBlock]) -> bool:
    """Whether Claude Code passes these results of tools on as they are, in a turn that waits for them.

    In a transcript it takes longer ones too, documents, and pictures that are fetched by Claude.
    """
    return all(
        all(isinstance(part, TextBlock) or (part.kind == "image" and part.media_type) for part in result.parts)
        and len(json.dumps(_contents(result))) <= MAX_RESULT_CHARS
        for result in results
    )


class ToolServer:
    """The tools of one conversation.

    Args:
        tools: those that Claude is to see.
        write: takes a line for Claude Code, without waiting.
    """

    def __init__(self, tools: Sequence[Tool], write: Callable[[str], None]) -> None:
        self._checker = ArgumentChecker(tools, time.thread_time)
        self._tools = [_described(tool) for tool in tools]
        self._write = write
        self._asked: dict[str, tuple[str, Any]] = {}
        self._results: dict[str, ToolResultBlock] = {}

    def bind(self) -> dict[str, Any]:
        """Fields for `initialize`. The manifest saves the round trips of a first listing."""
        if not self._tools:
            return {}
        manifest = {"initializeResult": _hello(), "toolsListResult": {"tools": self._tools}}
        return {
            "sdkMcpServers": [SERVER],
            "sdkMcpServerManifests": {SERVER: manifest},
            "sdkMcpServerConfigs": {SERVER: {"disableAutoBackground": True, "timeout": CALL_TIMEOUT_MS}},
        }

    def control_request(self, frame: Mapping[str, Any]) -> bool:
        """Take a control request of Claude Code; False if it is not for a tool."""
        request = frame.get("request") or {}
        if request.get("subtype") != "mcp_message":
            return False
        self._mcp(str(frame.get("request_id")), request.get("message") or {})
        return True

    def problem(self, name: str, arguments: str) -> str | None:
        """What is wrong with a call, in words for Claude; None if it is the client's.

        Args:
            name: the client's name of the tool.
            arguments: as Claude wrote them.
        """
        try:
            return self._checker.problem(name, load_finite(arguments))
        except (ValueError, RecursionError):
            return "The arguments are not valid JSON, or nested too deeply. Call the tool again with a JSON object."

    def give(self, results: Sequence[ToolResultBlock]) -> None:
        """Results, to the calls that wait, or kept for those that are still to come."""
        for result in results:
            self._results[result.call_id] = result
        self._answer_what_waits()

    def _mcp(self, request_id: str, message: Mapping[str, Any]) -> None:
        number = message.get("id")
        match message.get("method"):
            case "initialize":
                self._reply(request_id, number, _hello())
            case "tools/list":
                self._reply(request_id, number, {"tools": self._tools})
            case "tools/call":
                self._call(request_id, number, message.get("params") or {})
            case "ping":
                self._reply(request_id, number, {})
            case _ if number is None:
                self._reply(request_id, number, {})
            case method:
                self._respond(
                    request_id,
                    {"id": number, "error": {"code": METHOD_NOT_FOUND, "message": f"unknown method {method}"}},
                )

    def _call(self, request_id: str, number: Any, params: Mapping[str, Any]) -> None:
        call_id = (params.get("_meta") or {}).get("claudecode/toolUseId")
        if call_id is None:  # the client could not be asked for its result
            self._reply(request_id, number, _error("This call has no id, so it cannot be answered."))
            return
        self._asked[str(call_id)] = (request_id, number)
        self._answer_what_waits()

    def _answer_what_waits(self) -> None:
        # In the order of the calls: Claude Code passes results on in the order in which they come.
        for call_id in [asked for asked in self._asked if asked in self._results]:
            request_id, number = self._asked.pop(call_id)
            result = self._results.pop(call_id)
            failed = {"isError": True} if result.is_error else {}
            self._reply(request_id, number, {"content": _contents(result), **failed})

    def _reply(self, request_id: str, number: Any, result: Mapping[str, Any]) -> None:
        self._respond(request_id, {"id": number, "result": result})

    def _respond(self, request_id: str, answer: Mapping[str, Any]) -> None:
        body = {"mcp_response": {"jsonrpc": "2.0", **answer}}
        response = {"subtype": "success", "request_id": request_id, "response": body}
        self._write(json.dumps({"type": "control_response", "response": response}) + "\n")


def _error(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _contents(result: ToolResultBlock) -> list[dict[str, Any]]:
    return [_content(part) for part in result.parts]


def _content(part: ResultPart) -> dict[str, Any]:
    if isinstance(part, TextBlock):
        return {"type": "text", "text": part.text}
    return {"type": "image", "data": part.data, "mimeType": part.media_type}


def _hello() -> dict[str, Any]:
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": SERVER, "version": "1"},
    }


def _described(tool: Tool) -> dict[str, Any]:
    # Without the hint Claude Code would call one tool after another, each only when the one before has returned.
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool_schema(tool.claude_schema or tool.parameters),
        "annotations": {"readOnlyHint": True},
        "_meta": {"anthropic/maxResultSizeChars": MAX_RESULT_CHARS},
    }
