"""An in-process MCP server with the client's tools, whose calls wait for the client's results.

Claude Code sends MCP messages over its control protocol (`mcp_message`); this server lists the tools and accepts calls.
A call waits for its result, which comes with the client's next request, or from the turn if the arguments are invalid,
so that Claude corrects them. Results are kept by id, because Claude Code makes some calls only after others have
returned. All bookkeeping is synchronous; output goes to a channel.

Trap: the arguments that arrive here differ from Claude's. Claude Code turns "5" into 5 where the schema has
a number, and replaces arguments that are not an object with an empty object. So each call is checked once, by the
arguments that Claude wrote and the client gets, and not again here.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from claude_openai.protocol.claude_code.argument_checker import ArgumentChecker
from claude_openai.protocol.claude_code.tool_names import SERVER
from claude_openai.protocol.json_schema.tool_dialect import tool_schema
from claude_openai.protocol.turn.blocks import ResultPart, TextBlock, ToolResultBlock
from claude_openai.protocol.turn.tools import Tool
from claude_openai.protocol.wire.json_body import load_finite

__all__ = ["ToolServer", "fit_in_mcp_result"]

PROTOCOL_VERSION = "2025-11-25"
# A call may wait for a person. The server's own bound (`--tool-result-ttl-ms`) is much shorter.
CALL_TIMEOUT_MS = 24 * 3600 * 1000
# The largest limit that Claude Code accepts. It writes a longer result to a file and has Claude read that.
MAX_RESULT_CHARS = 500_000
METHOD_NOT_FOUND = -32601


def fit_in_mcp_result(results: Sequence[ToolResultBlock]) -> bool:
    """Whether Claude Code forwards these tool results unchanged in a turn that waits for them.

    A transcript may also have longer results, documents, and pictures by URL.
    """
    return all(
        all(isinstance(part, TextBlock) or (part.kind == "image" and part.media_type) for part in result.parts)
        and len(json.dumps(_contents(result))) <= MAX_RESULT_CHARS
        for result in results
    )


class ToolServer:
    """The tools of one conversation.

    Args:
        tools: the tools to offer to Claude.
        write: queues a line for Claude Code, without waiting.
    """

    def __init__(self, tools: Sequence[Tool], write: Callable[[str], None]) -> None:
        self._checker = ArgumentChecker(tools, time.thread_time)
        self._tools = [_described(tool) for tool in tools]
        self._write = write
        self._waiting: dict[str, tuple[str, Any]] = {}
        self._results: dict[str, ToolResultBlock] = {}

    def bind(self) -> dict[str, Any]:
        """Return fields for `initialize`. The manifest saves the round trips of a first listing."""
        if not self._tools:
            return {}
        manifest = {"initializeResult": _hello(), "toolsListResult": {"tools": self._tools}}
        return {
            "sdkMcpServers": [SERVER],
            "sdkMcpServerManifests": {SERVER: manifest},
            "sdkMcpServerConfigs": {SERVER: {"disableAutoBackground": True, "timeout": CALL_TIMEOUT_MS}},
        }

    def control_request(self, frame: Mapping[str, Any]) -> bool:
        """Handle a control request from Claude Code; return False if it is not an MCP message."""
        request = frame.get("request") or {}
        if request.get("subtype") != "mcp_message":
            return False
        self._mcp(str(frame.get("request_id")), request.get("message") or {})
        return True

    def problem(self, name: str, arguments: str) -> str | None:
        """Return what is wrong with a call, as a message for Claude; None if the call is valid.

        Args:
            name: the client's name of the tool.
            arguments: as Claude wrote them.
        """
        try:
            return self._checker.problem(name, load_finite(arguments))
        except (ValueError, RecursionError):
            return "The arguments are not valid JSON, or nested too deeply. Call the tool again with a JSON object."

    def give(self, results: Sequence[ToolResultBlock]) -> None:
        """Answer the waiting calls with these results, and keep the rest for later calls."""
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
        self._waiting[str(call_id)] = (request_id, number)
        self._answer_what_waits()

    def _answer_what_waits(self) -> None:
        # In the order of the calls: Claude Code forwards results in the order of their arrival.
        for call_id in [waiting for waiting in self._waiting if waiting in self._results]:
            request_id, number = self._waiting.pop(call_id)
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
    # Without `readOnlyHint` Claude Code would make calls one at a time, each after the previous one has returned.
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool_schema(tool.claude_schema or tool.parameters),
        "annotations": {"readOnlyHint": True},
        "_meta": {"anthropic/maxResultSizeChars": MAX_RESULT_CHARS},
    }
