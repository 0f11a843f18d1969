"""Reports, for each conversation, how much of the prompts Claude's cache had, and what kept the rest from being there.

The cache holds prefixes of prompts: tools, system prompt and messages, of one model, for some minutes. A request is
compared with the last one of its conversation, of which only hashes are kept. What happens within Claude's API is not
visible: if nothing differs, and the process is the same, the cause is unknown.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, Literal, TypeAlias

import trio

from claude_openai.protocol.turn.blocks import Block, MediaBlock, Message, ToolResultBlock
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.history import canonical
from claude_openai.protocol.turn.request import CacheTtl, TurnRequest

__all__ = ["CacheReport", "Cause", "PromptCache"]

# model, system, tools: they differ from the last request. history: an earlier message does. age: the last request was
# longer ago than the cache lives. process: the prompt came from a new process. unknown: nothing of that.
Cause: TypeAlias = Literal["model", "system", "tools", "history", "age", "process", "unknown"]

KEPT_CONVERSATIONS: Final = 128
# Claude's cache lives for 5 minutes after its last use, or for an hour if the request asked for it.
LIFETIMES_S: Final[Mapping[CacheTtl | None, float]] = {None: 300.0, "5m": 300.0, "1h": 3600.0}
# A smaller loss is not one of the prefix: the cache has blocks.
LOST_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The report of a run.

    Attributes:
        conversation: id of the first run of the conversation.
        read_share: share of all its prompts so far that came from the cache.
        lost_tokens: tokens that the last run had in the cache, and this one did not get from there.
        causes: why; empty if nothing was lost.
    """

    conversation: str
    read_share: float
    lost_tokens: int
    causes: tuple[Cause, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "conversation": self.conversation,
            "read_share": round(self.read_share, 3),
            "lost_tokens": self.lost_tokens,
            "causes": list(self.causes),
        }


@dataclass(frozen=True, slots=True)
class _Prompt:
    """Hashes of the parts of a prompt, in the order in which the cache has them."""

    owner: int
    parts: tuple[tuple[Cause, int], ...]
    messages: tuple[int, ...]

    @classmethod
    def of(cls, request: TurnRequest) -> "_Prompt":
        parts: tuple[tuple[Cause, object], ...] = (
            # Each speed of a model has a cache of its own.
            ("model", (request.claude_model, request.long_context, request.options.fast_mode)),
            ("tools", request.tools),
            ("system", request.system),
        )
        return cls(
            hash((request.owner, request.prompt_cache_key)),
            tuple((name, hash(part)) for name, part in parts),
            tuple(map(_hash, canonical((*request.turns, request.prompt)))),
        )

    def shared_with(self, other: "_Prompt") -> int:
        """Return the number of equal messages at the beginning of both."""
        pairs = zip(self.messages, other.messages, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def changed_from(self, last: "_Prompt") -> list[Cause]:
        changed = [name for (name, part), (_, old) in zip(self.parts, last.parts, strict=True) if part != old]
        if self.shared_with(last) < len(last.messages):
            changed.append("history")
        return changed

    def follows(self, last: "_Prompt") -> bool:
        """Whether this is a request of the same conversation as the last one.

        OpenCode's requests for a title and for the answer have the same message; their other parts differ.
        """
        if self.owner != last.owner:
            return False
        shared = self.shared_with(last)
        is_longer = shared == len(last.messages) < len(self.messages)
        return is_longer or shared > 1 or (shared == 1 and self.parts == last.parts)


@dataclass(slots=True, eq=False)
class _Conversation:
    first_run: str
    prompt: _Prompt
    at: float
    lifetime_s: float = 0.0
    cached: int = 0
    read_tokens: int = 0
    prompt_tokens: int = 0


class PromptCache:
    """Compares each prompt with the last one of its conversation.

    Args:
        now: seconds on a clock.
    """

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._known: deque[_Conversation] = deque(maxlen=KEPT_CONVERSATIONS)

    def note(self, run_id: str, request: TurnRequest, usage: Usage, route: str | None) -> CacheReport:
        """Take a prompt that was answered.

        Args:
            run_id: id of the run.
            request: the request.
            usage: tokens of the answer.
            route: how the turn got its process, None if unknown.
        """
        prompt, now = _Prompt.of(request), self._now()
        lost, causes = 0, tuple[Cause, ...]()
        conversation = self._last_of(prompt)
        if conversation is None:
            conversation = _Conversation(run_id, prompt, now)
        else:
            self._known.remove(conversation)
            missing = conversation.cached - usage.cache_read_tokens
            if missing > LOST_SHARE * conversation.cached:
                lost, causes = missing, self._causes(prompt, conversation, route)
        conversation.prompt, conversation.at = prompt, now
        conversation.lifetime_s = LIFETIMES_S[request.cache_ttl]
        conversation.cached = usage.cache_read_tokens + usage.cache_write_tokens
        conversation.read_tokens += usage.cache_read_tokens
        conversation.prompt_tokens += usage.input_tokens + conversation.cached
        self._known.append(conversation)
        share = conversation.read_tokens / max(1, conversation.prompt_tokens)
        return CacheReport(conversation.first_run, share, lost, causes)

    def _last_of(self, prompt: _Prompt) -> _Conversation | None:
        """Return the conversation that a prompt belongs to: the one with the most in common, the latest of several."""
        same = [known for known in self._known if prompt.follows(known.prompt)]
        return max(
            reversed(same),
            key=lambda known: (prompt.shared_with(known.prompt), prompt.parts == known.prompt.parts),
            default=None,
        )

    def _causes(self, prompt: _Prompt, last: _Conversation, route: str | None) -> tuple[Cause, ...]:
        changed = prompt.changed_from(last.prompt)
        if changed:
            return tuple(changed)
        if self._now() - last.at > last.lifetime_s:
            return ("age",)
        return ("process",) if route in ("new", "replayed") else ("unknown",)


def _hash(message: Message) -> int:
    return hash((message.role, *map(_hash_of_block, message.blocks)))


def _hash_of_block(block: Block) -> int:
    match block:
        case ToolResultBlock():
            return hash((block.call_id, *map(_hash_of_block, block.parts)))
        case MediaBlock():
            # Not of all its data: this runs on the event loop, and pictures are megabytes.
            return hash((block.media_type, len(block.data), block.data[:64], block.data[-64:]))
    return hash(block)
