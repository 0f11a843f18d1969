"""Conversations and processes without Claude Code, and the requests that they meet."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import trio

from claude_openai.claude.process.launcher import ProcessSpec
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.sdk.conversation import Conversation
from claude_openai.claude.sdk.conversation_state import ConversationState, TurnOutcome
from claude_openai.claude.sdk.live_process import LiveProcess
from claude_openai.claude.walls.file_calls import FileCalls
from claude_openai.claude.walls.hook import ToolGuard
from claude_openai.logs.log import NULL_LOG, Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import Block, Message, TextBlock, ToolUseBlock
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog

__all__ = [
    "HELLO",
    "MODEL",
    "TOOLS",
    "Events",
    "StandIn",
    "StandInProcess",
    "asked",
    "calling",
    "going_on",
    "idle_one",
    "parked_one",
    "say",
    "spec",
    "with_results",
]


MODEL = "sonnet"
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("read", "glob")]


@dataclass(eq=False)
class StandInProcess:
    """What the registry and the spares know of a process."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    failure: str = ""
    died: bool = False
    outdated: bool = False
    model: str = ""

    @property
    def alive(self) -> bool:
        return not self.died and not self.scope.cancel_called

    def expire_at(self, deadline: float) -> None:
        self.scope.deadline = deadline

    def end(self, reason: str) -> None:
        self.scope.cancel(reason=reason)

    async def close(self) -> None:
        self.end("closed")


class StandIn(Conversation):
    """A conversation without a process, which has answered a request."""

    def __init__(self, request: TurnRequest, *blocks: Block) -> None:
        calls = tuple(block.id for block in blocks if isinstance(block, ToolUseBlock))
        ident = "" if request.prompt.has_results else "id"
        outcome = TurnOutcome(Message("assistant", blocks), ident, calls, (), exact=True, reusable=True)
        self.answered = ConversationState.first(request, "session").after(request, outcome, alive=True)
        self.stand_in = StandInProcess()
        super().__init__(cast("LiveProcess", self.stand_in), self.answered, NULL_LOG)

    def answer_again(self) -> None:
        assert self.state == self.answered.taken()
        self.state = self.answered


class Events:
    """A log, and the names of its events."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self.log = Log(Level.DEBUG, self._lines.append, Redactor())

    def of(self, event: str) -> list[dict[str, Any]]:
        return [record for record in map(json.loads, self._lines) if record["event"] == event]


def say(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def calling(*ids: str) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "read", "arguments": "{}"}} for i in ids]
    return say("assistant", None, tool_calls=calls)


def asked(*messages: dict[str, Any], **fields: Any) -> TurnRequest:
    body = {"model": "sonnet", "messages": messages, "tools": TOOLS, **fields}
    return parse_chat_request(json.dumps(body).encode(), ModelCatalog("sonnet", ()))


HELLO = [say("system", "Be brief."), say("user", "Hi")]


def idle_one() -> StandIn:
    return StandIn(asked(*HELLO), TextBlock("Hello."))


def parked_one(*ids: str) -> StandIn:
    return StandIn(asked(*HELLO), *(ToolUseBlock(i, "read", "{}") for i in ids))


def going_on(**fields: Any) -> TurnRequest:
    return asked(*HELLO, say("assistant", "Hello."), say("user", "And?"), **fields)


def with_results(*ids: str, calls: tuple[str, ...] = ("a", "b"), more: tuple[dict[str, Any], ...] = ()) -> TurnRequest:
    results = [say("tool", "42", tool_call_id=i) for i in ids]
    return asked(*HELLO, calling(*calls), *results, *more)


def spec(opened: Any) -> ProcessSpec:
    guard = ToolGuard(None, FileCalls(), NULL_LOG)
    return ProcessSpec("session", MODEL, TurnSettings(), opened, "claude login", guard)
