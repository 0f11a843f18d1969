"""An SDK Transport over a supervised process.

The SDK's own transport starts the process, without a new session, and kills only the child. This one gets a running
`SupervisedProcess` and only carries lines. It adds fields to the `initialize` request that the CLI accepts but the
Python SDK does not send: so the system prompt goes by standard input and not in argv, where Linux allows 128 KiB, and a
process that was started ahead of need can be bound late. The SDK calls `write` from several tasks, `read_messages` from
a trio system task, and `close` under an unbounded shield, so every wait in here is bounded.
"""

import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from claude_agent_sdk import CLIConnectionError, CLIJSONDecodeError, ProcessError, Transport

from claude_openai.claude.backend import Emit
from claude_openai.claude.control.records import RecordError, record_of
from claude_openai.claude.process.launcher import GRACE_S
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.claude.sdk.messages import wrapped
from claude_openai.logs.log import Level, Log
from claude_openai.protocol.claude_code.line_framer import LineFramer, LineTooLong
from claude_openai.protocol.claude_code.signs_of_life import Signs

__all__ = ["ProcessTransport"]

# Prefix of lines that do not ask Claude anything, such as settings for the process.
_OF_NO_TURN = '{"type": "control_request"'
# It takes 9 ms (2.1.332).
REWIND_WAIT_S = 2.0


class ProcessTransport(Transport):
    """Carries the SDK's lines to and from a supervised process.

    Args:
        process: owned by the caller; `close` ends it.
        bind: fields to add to the `initialize` request.
        log: raw frames at trace level.
        take: called with each message; returns whether it handled the message. Others go to the SDK.
    """

    def __init__(
        self, process: SupervisedProcess, bind: Mapping[str, Any], log: Log, take: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        self._process = process
        self._bind: Mapping[str, Any] | None = bind
        self._log = log
        self._take = take
        self._framer = LineFramer()
        self._turn_ended = False
        self._grace_s = 0.0
        self._signs: Signs | None = None
        self._emit: Emit | None = None
        self._written_since: int | None = None
        self._rewinding: _Rewinding | None = None

    async def connect(self) -> None:
        """Do nothing: the process runs already."""

    def is_ready(self) -> bool:
        return self._process.running

    async def write(self, data: str) -> None:
        if self._bind is not None:
            data = self._bound(data)
        if self._log.enabled(Level.TRACE):
            self._log.trace("sdk.write", frame=data)
        line = data.encode()
        try:
            await self._process.write(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise CLIConnectionError(await self._process.why_gone()) from error
        if self._written_since is not None:
            self._written_since += len(line)
        elif not data.startswith(_OF_NO_TURN):
            self._written_since = 0

    async def rewind(self, target: str, newest: str) -> str:
        """Rewind the conversation to before a message.

        Args:
            target: id of the message.
            newest: id of the last prompt. Without it Claude Code only rewinds to before that prompt.

        Returns:
            Why the conversation was not rewound; "" if it was.
        """
        self._rewinding = _Rewinding(f"rewind_{uuid.uuid4().hex}")
        request = {
            "subtype": "rewind_conversation",
            "target_message_uuid": target,
            "last_seen_user_message_uuid": newest,
        }
        frame = {"type": "control_request", "request_id": self._rewinding.request_id, "request": request}
        await self.write(json.dumps(frame) + "\n")
        with trio.move_on_after(REWIND_WAIT_S):
            await self._rewinding.answered.wait()
        return self._rewinding.refusal

    def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        return _Messages(self)

    async def end_input(self) -> None:
        """Do nothing: the SDK also calls this for its empty opening stream. `close` ends the input."""

    async def close(self) -> None:
        await self._process.stop(grace_s=self._grace_s)

    @contextmanager
    def observed(self, emit: Emit) -> Iterator[None]:
        """Report the signs of life of a turn to `emit` for the length of the block."""
        self._emit, self._signs, self._written_since = emit, Signs(), None
        try:
            yield
        finally:
            self._emit = self._signs = None

    @property
    def asked(self) -> bool:
        """Whether Claude may have been asked in the current turn.

        This is so if the prompt, or the first tool result, was written, unless the process died before it read that
        line to its end. The write alone does not show it: the pipe of a killed process stays open until the last of its
        threads is gone.
        """
        return self._written_since is not None and self._process.unread <= self._written_since

    def turn_begins(self) -> None:
        self._turn_ended = False
        self._grace_s = 0.0

    def turn_ended(self, *, in_order: bool) -> None:
        """Stop reading until the next turn.

        Args:
            in_order: Claude Code has ended the turn too, so it exits when its input ends.
        """
        self._turn_ended = True
        self._grace_s = GRACE_S if in_order else 0

    def _bound(self, data: str) -> str:
        frame = json.loads(data)
        if frame.get("request", {}).get("subtype") != "initialize":
            return data
        frame["request"].update(self._bind)
        self._bind = None
        return json.dumps(frame) + "\n"

    async def next_lines(self) -> list[bytes]:
        """Read a chunk and return the lines that it completes, maybe none.

        Raises:
            ClaudeSDKError: the output ended, or a line is too long.
        """
        chunk = await self._process.read()
        if not chunk:
            if self._turn_ended:
                await trio.sleep_forever()  # the SDK would log an error; it cancels this when it closes
            # An end of output before the turn's result is an error; after the result nothing is read.
            raise ProcessError(await self._process.why_gone(), exit_code=self._process.exit_code)
        try:
            return self._framer.feed(chunk)
        except LineTooLong as error:
            raise CLIConnectionError(str(error)) from error

    def parsed(self, line: bytes) -> dict[str, Any] | None:
        """Parse a line; return None if it is not a message for the SDK.

        Raises:
            CLIJSONDecodeError: the line begins like a record but is not valid JSON.
        """
        try:
            message = record_of(line, self._log)
        except RecordError as error:
            raise CLIJSONDecodeError(line[:200].decode(errors="replace"), error) from error
        if message is None:
            return None
        self._log.trace("sdk.message", frame=message)
        if self._signs is not None and self._emit is not None:
            sign = self._signs.read(message)
            if sign is not None:
                self._emit.alive(sign.what, sign.for_s)
        if message.get("type") == "control_response" and self._rewinding is not None and self._rewinding.takes(message):
            return None
        return None if self._take(message) else wrapped(message)


@dataclass(slots=True)
class _Rewinding:
    request_id: str
    answered: trio.Event = field(default_factory=trio.Event)
    refusal: str = f"no answer within {REWIND_WAIT_S:g} s"

    def takes(self, message: Mapping[str, Any]) -> bool:
        response = message.get("response") or {}
        if response.get("request_id") != self.request_id:
            return False
        answer = response.get("response") or response
        self.refusal = "" if answer.get("rewound") is True else str(answer.get("error"))
        self.answered.set()
        return True


class _Messages:
    """An iterator and not a generator, because the SDK does not finish it: the garbage collector would close it."""

    def __init__(self, transport: ProcessTransport) -> None:
        self._transport = transport
        self._lines: deque[bytes] = deque()

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> dict[str, Any]:
        message: dict[str, Any] | None = None
        while message is None:
            while not self._lines:
                self._lines.extend(await self._transport.next_lines())
            message = self._transport.parsed(self._lines.popleft())
        return message
