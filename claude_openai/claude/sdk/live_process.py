"""Owns one process and its SDK client.

The process starts without a request: system prompt, tools and output format come with the first request, so it can be
started ahead of need. The task in `live` belongs to the server's nursery, never to a request.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

import trio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.priming import today
from claude_openai.claude.process.launcher import ProcessSpec
from claude_openai.claude.process.start_errors import start_error, why_not_started
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.claude.sdk.messages import ending
from claude_openai.claude.sdk.transport import ProcessTransport
from claude_openai.claude.sdk.turn import ConnectedClient
from claude_openai.claude.walls.hook import ToolGuard
from claude_openai.errors import ApiError, leaves
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.call_policies import MUST_CALL
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["LiveProcess"]

# The process is killed within 3 s (`SupervisedProcess.stop`); the rest is for the task to return.
CLOSE_WAIT_S = 6.0


class LiveProcess:
    """See the module.

    Attributes:
        spec: how the process is started.
        client: the client, once bound to a first request.
        failure: why there is no client.
    """

    def __init__(self, spec: ProcessSpec, log: Log) -> None:
        self.spec = spec
        self.client: ConnectedClient | None = None
        self.failure = ""
        self._refusal: ApiError | None = None
        self._log = log
        self._scope = trio.CancelScope()
        self._bind, self._first_request = trio.open_memory_channel[TurnRequest](1)
        self._process: SupervisedProcess | None = None
        self._ready = trio.Event()
        self._gone = trio.Event()
        self._started_on = today()

    @property
    def outdated(self) -> bool:
        """Whether midnight has passed since its start: then Claude Code would add the new date after the prompt."""
        return self._started_on != today()

    @property
    def alive(self) -> bool:
        """Whether the process runs and is not being ended."""
        running = self._process is not None and self._process.running
        return running and not self._gone.is_set() and not self._scope.cancel_called

    @property
    def pid(self) -> int | None:
        """Its process id; None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def start_error(self) -> ApiError:
        """The error for a request without a usable process; the request itself may be the cause."""
        return self._refusal or start_error(self.failure)

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own process and client until ended, expired, or the process dies; report started once the process runs."""
        try:
            with self._scope:
                await self._hold(task_status)
        except* Exception as group:  # noqa: BLE001 - reported to the client whose request needs the process
            self.failure = "; ".join(why_not_started(error) for error in leaves(group))
            self._refusal = next((error for error in leaves(group) if isinstance(error, ApiError)), None)
            self._log.debug("conversation.failed", error=self.failure)
        finally:
            self._gone.set()
            self._ready.set()
        if self._process is None:
            task_status.started()
        self._log.debug("conversation.gone")

    def begin_to_bind(self, request: TurnRequest) -> None:
        """Begin to bind the process to its first request; `bound` waits for it. Call once.

        Args:
            request: gives the system prompt, the tools and the output format; it is not sent.
        """
        self._bind.send_nowait(request)

    async def bound(self, within_s: float = inf) -> None:
        """Return when there is a client or a failure.

        Args:
            within_s: seconds after which a process that does not answer is ended.
        """
        with trio.move_on_after(within_s) as waiting:
            await self._ready.wait()
        if waiting.cancelled_caught:
            self.failure = f"a waiting process did not answer within {within_s:g} s"
            self._log.warning("conversation.failed", error=self.failure)
            self.end(self.failure)

    def expire_at(self, deadline: float) -> None:
        """End the process at this time of trio's clock."""
        self._scope.deadline = deadline

    def end(self, reason: str) -> None:
        """Begin to end the process; `close` waits for it."""
        self._scope.cancel(reason=reason)

    async def close(self) -> None:
        """End the process and return when it is gone. Shielded and bounded."""
        self.end("the conversation is closed")
        with trio.move_on_after(CLOSE_WAIT_S, shield=True) as waiting:
            await self._gone.wait()
        if waiting.cancelled_caught:
            self._log.error("conversation.abandoned")

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        async with self.spec.open() as process:
            self._process = process
            task_status.started()
            request = await self._wait_first_request(process)
            if request is not None:
                await self._serve(process, request)

    async def _wait_first_request(self, process: SupervisedProcess) -> TurnRequest | None:
        """Wait for the request; return None if the process dies first."""
        request = None
        async with trio.open_nursery() as nursery:

            async def cancel_at_exit() -> None:
                await process.wait_exit()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel_at_exit)
            request = await self._first_request.receive()
            nursery.cancel_scope.cancel()
        return request

    async def _serve(self, process: SupervisedProcess, request: TurnRequest) -> None:
        """Connect a client and hold it while the process runs."""
        send, receive = trio.open_memory_channel[str](inf)
        ask, questions = trio.open_memory_channel[Mapping[str, Any]](inf)
        toolbox, guard = ToolServer(request.tools, send.send_nowait), self.spec.guard

        def take(frame: Mapping[str, Any]) -> bool:
            self.spec.note(frame)
            if guard.takes(frame):
                ask.send_nowait(frame)
                return True
            if guard.does_not_ask(frame):
                process.kill()
            return frame.get("type") == "control_request" and toolbox.control_request(frame)

        transport = ProcessTransport(process, _binding(request, toolbox, guard), self._log, take)
        # With a custom transport the SDK ignores options that are flags; `command_line` sets those.
        client = ClaudeSDKClient(ClaudeAgentOptions(verbatim_prompts=True), transport=transport)
        async with client, trio.open_nursery() as nursery, ending(client.receive_messages()) as messages:
            nursery.start_soon(_write_all, receive, transport)
            nursery.start_soon(guard.answer_all, questions, send.send_nowait)
            self.client = ConnectedClient(client, messages, process, transport, toolbox, self.spec.settings)
            self._ready.set()
            await process.wait_exit()
            async with self.client.reading:  # the SDK reports the death to a running turn
                nursery.cancel_scope.cancel()


def _binding(request: TurnRequest, toolbox: ToolServer, guard: ToolGuard) -> dict[str, Any]:
    must = [MUST_CALL] if request.tool_choice.mode == "required" else []
    form = {} if request.output is None else {"jsonSchema": request.output.for_claude()}
    return {"systemPrompt": [request.system, *must], **form, **toolbox.bind(), **guard.hooks()}


async def _write_all(lines: trio.MemoryReceiveChannel[str], transport: ProcessTransport) -> None:
    async for line in lines:
        await transport.write(line)
