"""A conversation: a live process and its state. The holder of its lease runs turns with `answer`."""

import weakref
from dataclasses import dataclass

from claude_agent_sdk import ClaudeSDKError

from claude_openai.claude.backend import Emit
from claude_openai.claude.process.start_errors import NotAsked
from claude_openai.claude.sdk.conversation_state import ConversationState, Phase
from claude_openai.claude.sdk.live_process import LiveProcess
from claude_openai.claude.sdk.transport import ProcessTransport
from claude_openai.claude.sdk.turn import SdkTurn
from claude_openai.errors import InternalError
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Route, TurnFailed
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["Conversation", "ParkedCalls"]


@dataclass(frozen=True, slots=True)
class ParkedCalls:
    """The unanswered calls of a parked conversation, for the run that made them. Holds a weak reference only."""

    conversation: "weakref.ref[Conversation]"
    state: ConversationState

    @property
    def waiting(self) -> bool:
        conversation = self.conversation()
        return conversation is not None and conversation.process.alive and conversation.state is self.state

    async def close(self) -> None:
        conversation = self.conversation()
        if conversation is not None and self.waiting:
            await conversation.process.close()


class Conversation:
    """See the module.

    Args:
        process: its process; the holder of the lease closes it.
        state: replaced by each turn.
        log: for failures of the SDK.

    Attributes:
        since: Unix time at which it began to wait for its next request, in seconds.
    """

    def __init__(self, process: LiveProcess, state: ConversationState, log: Log) -> None:
        self.process = process
        self.state = state
        self.since = 0.0
        self._log = log

    def parked(self) -> ParkedCalls | None:
        """Return the calls of its last turn, if it waits for their results."""
        return ParkedCalls(weakref.ref(self), self.state) if self.state.phase is Phase.PARKED else None

    async def answer(self, request: TurnRequest, route: Route, emit: Emit, *, replaceable: bool) -> None:
        """Run one turn. Its outcome is in `state`; a cancelled turn leaves the state busy.

        Args:
            request: the request to answer; its history must equal that of this conversation.
            route: how the turn got this process.
            emit: takes the events.
            replaceable: if Claude was not asked, raise instead of failing the turn.

        Raises:
            NotAsked: nothing was emitted, and the process ended before any of the prompt was written to it. Once some
                was written, it is unknown whether Claude was asked, and the turn fails.
        """
        client = self.process.client
        if client is None:
            if replaceable:
                raise NotAsked(self.process.failure)
            self._log.warning("sdk.error", kind="not_started", error=self.process.failure)
            await emit(TurnFailed(self.process.start_error))
            return
        turn = SdkTurn(request, client, emit, route=route, login=self.process.spec.login)
        try:
            self.process.spec.guard.begin_turn()
            with client.transport.observed(emit):
                if route == "rewound":
                    await self._rewind(client.transport, len(request.turns))
                await turn.run()
        except NotAsked:
            raise
        except ClaudeSDKError as error:
            if replaceable and not client.transport.asked:
                raise NotAsked(str(error)) from error
            self._log.warning("sdk.error", kind=type(error).__name__, error=error)
            if not turn.reader.ended:
                await emit(turn.reader.gone(str(error)))
        except Exception as error:  # noqa: BLE001 - the SDK raises the bare class for a failed control request
            self._log.error("sdk.error", kind=type(error).__name__, error=error)
            if not turn.reader.ended:
                await emit(TurnFailed(InternalError(f"The Agent SDK failed: {error}")))
        self.state = self.state.after(request, turn.outcome(), alive=self.process.alive)

    async def _rewind(self, transport: ProcessTransport, messages: int) -> None:
        """Rewind the conversation to its first `messages` messages."""
        ids = self.state.message_ids
        newest = next(ident for ident in reversed(ids) if ident)
        refusal = await transport.rewind(ids[messages], newest)
        if refusal:
            raise NotAsked(f"the conversation was not rewound: {refusal}")
        self.state = self.state.rewound_to(messages)
