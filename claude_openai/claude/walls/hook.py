"""Answers Claude Code's control requests about its own tools.

`hook_callback`: a PreToolUse hook, registered in `initialize`, is called before every call, in every permission mode
and for sub-agents too; `file_guard` decides. `can_use_tool`: Claude Code wants to ask a person for permission, which is
impossible here, so it is denied. The hook never answers `allow`, which would override the permission mode.

Trap: by default Claude Code runs the tool if the hook's answer is an error or malformed, and waits forever if there is
none. So every failure in here is a denial, and the hook is registered with a timeout and `onFailure` (2.1.332).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio

from claude_openai.claude.leftovers.sweep import OF_ITS_OWN_CHOICE
from claude_openai.claude.walls.file_calls import FileCalls
from claude_openai.claude.walls.file_guard import Denied, FileGuard
from claude_openai.claude.walls.own_tools import TOOLS
from claude_openai.claude.walls.search_guard import SearchGuard
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.web_searches import WEB_SEARCH

__all__ = ["ToolGuard"]

NOT_PERMITTED: Final = (
    "Permission denied: this request does not allow the call, and there is no one to approve it. Continue without it, "
    "or tell the user what you would have done."
)
UNCHECKED: Final = "Denied: the call could not be checked."
TOO_SLOW: Final = "Denied: the file system did not answer in time."
# A tool result that was too long for the conversation, with its path (2.1.332).
LONG_RESULT: Final = re.compile(r"<persisted-output>\n[^\n]+: [^\n]*/(projects/[^/\n]+/[^/\n]+)/tool-results/[^/\n]+\n")
HOOK: Final = "own_tools"
# Longer than `FILE_CALL_S`. Claude Code does not make a call whose hook has not answered by then.
HOOK_TIMEOUT_S: Final = 10


class ToolGuard:
    """Answers the requests of one process.

    Args:
        files: checks the calls; None for a process without Claude's own tools.
        calls: runs `files`, which blocks.
        log: records denials.
        search: checks the web searches; None if the request does not ask for web search.

    Attributes:
        made: called with the name of each file and folder that the process makes in Claude Code's folder for its tools.
    """

    def __init__(self, files: FileGuard | None, calls: FileCalls, log: Log, search: SearchGuard | None = None) -> None:
        self.made: Callable[[str], None] = lambda _name: None
        self._files = files
        self._calls = calls
        self._log = log
        self._search = search
        self._names: dict[str, str] = {}
        self._asked: set[str] = set()

    def begin_turn(self) -> None:
        if self._search is not None:
            self._search.begin_turn()

    @property
    def _has_hook(self) -> bool:
        return self._files is not None or self._search is not None

    def hooks(self) -> dict[str, Any]:
        """Return fields for the `initialize` request."""
        if not self._has_hook:
            return {}
        matcher = WEB_SEARCH if self._files is None else None
        entry = {"matcher": matcher, "hookCallbackIds": [HOOK], "timeout": HOOK_TIMEOUT_S, "onFailure": "block"}
        return {"hooks": {"PreToolUse": [entry]}}

    def takes(self, frame: Mapping[str, Any]) -> bool:
        """Whether a record is a control request for `answer`."""
        return frame.get("type") == "control_request" and (frame.get("request") or {}).get("subtype") in (
            "can_use_tool",
            "hook_callback",
        )

    async def answer(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        """Return the control response to a request that `takes` accepts. Raises only Cancelled."""
        request = frame["request"]
        if request["subtype"] == "can_use_tool":
            self._log.info("sdk.can_use_tool", tool=request.get("tool_name"), allowed=False)
            self._log.trace("sdk.can_use_tool_input", tool=request.get("tool_name"), input=request.get("input"))
            answer: dict[str, Any] = {"behavior": "deny", "message": NOT_PERMITTED}
        else:
            answer = await self._hook_answer(request)
        response = {"subtype": "success", "request_id": frame.get("request_id"), "response": answer}
        return {"type": "control_response", "response": response}

    async def answer_all(
        self, frames: trio.MemoryReceiveChannel[Mapping[str, Any]], write: Callable[[str], None]
    ) -> None:
        """Answer requests concurrently until the channel is closed.

        Args:
            frames: requests that `takes` accepts.
            write: queues the line of an answer, without waiting.
        """

        async def answer(frame: Mapping[str, Any]) -> None:
            write(json.dumps(await self.answer(frame)) + "\n")

        async with trio.open_nursery() as nursery:
            async for frame in frames:
                nursery.start_soon(answer, frame)

    def does_not_ask(self, record: Mapping[str, Any]) -> bool:
        """Whether a record shows that Claude Code runs tools without calling the hook, so that it must be killed.

        A safety net for other versions: `initialize` was answered without registering the hook, or a tool has a result
        although the hook was not called.
        """
        if not self._has_hook:
            return False
        match record:
            case {"type": "control_response", "response": {"response": {"hooks_applied": False}}}:
                unasked: str | None = "any"
            case {"type": "assistant" | "user", "message": {"content": [*blocks]}}:
                unasked = self._run_unasked(blocks)
            case _:
                return False
        if unasked is not None:
            self._log.error("sdk.own_tool_unasked", tool=unasked)
        return unasked is not None

    def _run_unasked(self, blocks: Sequence[Any]) -> str | None:
        for block in blocks:
            match block:
                case {"type": "tool_use", "id": str(call_id), "name": str(name)} if name in TOOLS["all"]:
                    self._names[call_id] = name
                case {"type": "tool_result", "tool_use_id": str(call_id)}:
                    used = self._names.pop(call_id, None)
                    if used is not None:
                        self._note_long_result(block.get("content"))
                    was_asked = call_id in self._asked
                    self._asked.discard(call_id)
                    if used is not None and not was_asked and not block.get("is_error"):
                        return used
        return None

    def _note_long_result(self, content: object) -> None:
        if isinstance(content, list) and content and isinstance(content[0], dict):
            content = content[0].get("text")
        found = LONG_RESULT.match(content) if isinstance(content, str) else None
        if found is not None and OF_ITS_OWN_CHOICE.fullmatch(found[1]):
            self.made(found[1])

    async def _hook_answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        tool = None
        try:
            asked = request["input"]
            tool = asked["tool_name"]
            self._asked.add(asked["tool_use_id"])
            changed = await self._checked(asked)
        except Denied as denied:
            reason = str(denied)
        except trio.TooSlowError:
            reason = TOO_SLOW
        except Exception as error:  # noqa: BLE001 - after any failure the call must not be made
            self._log.warning("sdk.own_tool_undecided", tool=tool, error=error)
            reason = UNCHECKED
        else:
            return {} if changed is None else _output(updatedInput=changed)
        self._log.info("sdk.own_tool_denied", tool=tool, reason=reason)
        self._log.trace("sdk.own_tool_denied_input", tool=tool, input=request.get("input"))
        return _output(permissionDecision="deny", permissionDecisionReason=reason)

    async def _checked(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        if asked["hook_event_name"] != "PreToolUse":
            raise Denied(UNCHECKED)
        if self._search is not None and asked["tool_name"] == WEB_SEARCH:
            return self._search.check(asked["tool_input"])
        if self._files is None:
            raise Denied(UNCHECKED)
        changed = await self._calls.run(self._files.check, asked)
        for plan in self._files.plans:
            self.made(plan)
        return changed


def _output(**fields: Any) -> dict[str, Any]:
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **fields}}
