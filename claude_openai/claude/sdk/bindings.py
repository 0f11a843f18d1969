"""What a process is bound to before its first prompt, and which binding the next conversation is expected to have.

Claude Code works for about 100 ms on the system prompt and the tools of a process. Agents begin conversation after
conversation with the same ones, so a spare can be bound ahead.
"""

from dataclasses import dataclass, field, replace

from claude_openai.claude.sdk.conversation_state import Identity, identity_of
from claude_openai.protocol.turn.blocks import Message
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["Binding", "ExpectedBinding"]


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding; `request` is a request with it, without its messages."""

    identity: Identity
    request: TurnRequest = field(compare=False)

    @classmethod
    def of(cls, request: TurnRequest) -> "Binding":
        return cls(identity_of(request), replace(request, turns=(), prompt=Message("user", ())))


class ExpectedBinding:
    """The binding of the last two new conversations that followed each other with the same one.

    So conversations with a binding that is used once, and those of two agents in turn, start no process in vain.
    """

    def __init__(self) -> None:
        self._expected: Binding | None = None
        self._last: Binding | None = None

    def note(self, binding: Binding) -> bool:
        """Note a new conversation; return whether the next one is expected to have its binding."""
        if binding == self._last:
            self._expected = binding
        self._last = binding
        return binding == self._expected
