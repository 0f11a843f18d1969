"""The request for one turn, independent of the client's API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from claude_openai.protocol.turn.blocks import Message
from claude_openai.protocol.turn.claude_options import ClaudeOptions, ReasoningEffort
from claude_openai.protocol.turn.output_format import OutputFormat
from claude_openai.protocol.turn.tools import Tool, ToolChoice

__all__ = ["CacheTtl", "TurnRequest"]

# The lifetimes of entries in Claude's prompt cache, the shortest first.
CacheTtl: TypeAlias = Literal["5m", "1h"]


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """The request for one turn.

    Attributes:
        model: the model name that the client requested, repeated in the answer.
        claude_model: the model name for Claude Code's `--model`.
        system: the joined system and developer messages, "" if there are none.
        turns: the history before the prompt.
        prompt: the user turn to answer.
        stream: answer with server-sent events.
        tools: the tools offered to Claude, in the client's order.
        tool_choice: whether, and which, tool must be called.
        parallel_tool_calls: whether one answer may call several tools.
        include_usage: end the stream with a usage chunk.
        reasoning_effort: the level of thinking, None for the model's default.
        max_tokens: limit of the answer in tokens, thinking included; None for the model's limit.
        stop: sequences before which the answer ends.
        output: the required format of the answer, None for text, and if a tool must be called.
        functions: the client uses the older `functions`, so the answer must too.
        options: the options of Claude Code.
        user: the client's id of its user, from `user` or `safety_identifier`.
        caller: name of the client's key, "" if it has no name; set by the server.
        metadata: key-value pairs of the client, for the log.
        prompt_cache_key: the client's name of a repeated prompt, for the log.
        cache_ttl: how long the prompt stays in Claude's cache; None leaves it to Claude Code.
        show_thinking: the client gets Claude's thinking, if its API has it.
        long_context: a context of more than 200,000 tokens may be used, if the model supports it; set by the server.
        trace_context: `traceparent` and `tracestate` for Claude Code's own traces; set by the server.
    """

    model: str
    claude_model: str
    system: str
    turns: tuple[Message, ...]
    prompt: Message
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    stream: bool
    include_usage: bool
    reasoning_effort: ReasoningEffort | None
    options: ClaudeOptions
    user: str | None
    metadata: Mapping[str, str]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    output: OutputFormat | None = None
    functions: bool = False
    prompt_cache_key: str | None = None
    cache_ttl: CacheTtl | None = None
    show_thinking: bool = True
    long_context: bool = True
    trace_context: Mapping[str, str] = field(default_factory=dict)
    caller: str = ""

    @property
    def owner(self) -> tuple[str, str | None]:
        """Return whose conversation it is: nothing of it is used for a request of another owner."""
        return self.caller, self.user
