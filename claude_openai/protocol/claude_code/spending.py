"""What one process of Claude Code has used, in tokens and dollars.

Claude Code reports totals of the whole process by model: with each result, and as the answer to `get_usage`. A report
of this module is the difference to what was reported before, so nothing is counted twice, in any order. What a
process streamed and never put into a total, because it was killed, is reported when it ends, without dollars.

Observed with Claude Code 2.1.332: the totals go on over turns and tool loops, and a message is in them from its
`message_delta` on. The latter also holds for 2.1.200, 2.1.220, 2.1.240, 2.1.260, 2.1.280 and 2.1.300.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from claude_openai.protocol.claude_code.account_limits import amount, finite, limits_of
from claude_openai.protocol.claude_code.usage import OF_A_MODEL, counted, sum_of
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import ModelSpent, Report, Spent

__all__ = ["ProcessSpending"]

_NOTHING: Final = ModelSpent(Usage(), 0.0)


class ProcessSpending:
    """Follows one process, by its records. An invalid record is ignored: accounts must not fail a turn."""

    def __init__(self) -> None:
        self._at_list_price = False
        self._reported: dict[str, ModelSpent] = {}
        # Messages that are in no total yet, by their id, and the id of the message that is being streamed.
        self._streamed: dict[str, tuple[str, Usage]] = {}
        self._open = ""

    def take(self, record: Mapping[str, Any]) -> Report | None:
        """Take the next record of the process; return a report if there is something new."""
        try:
            match record.get("type"):
                case "stream_event" if record.get("parent_tool_use_id") is None:
                    self._stream_event(record["event"])
                case "assistant" if record.get("parent_tool_use_id") is not None:
                    self._put(record["message"])  # of a sub-agent, which is not streamed; each of its blocks repeats it
                case "result":
                    return self.note_totals(record.get("modelUsage"))
                case "rate_limit_event":
                    limits = limits_of(record["rate_limit_info"])
                    self._at_list_price = True  # Claude Code reports limits to subscribers only
                    return limits
        except (LookupError, TypeError, ValueError, AttributeError):
            pass
        return None

    def note_totals(self, models: object) -> Spent | None:
        """Take the totals of the process by model; return what is new, None if nothing is."""
        if not isinstance(models, Mapping) or not models:
            return None
        # A message that is still being streamed is in none of them.
        self._streamed = {ident: self._streamed[ident] for ident in (self._open,) if ident in self._streamed}
        new = {model: self._new(model, totals) for model, totals in models.items() if isinstance(totals, Mapping)}
        return self._report({model: spent for model, spent in new.items() if spent != _NOTHING})

    def end(self) -> Spent | None:
        """Take the end of the process; return what is in no total, None if there is nothing."""
        left: dict[str, Usage] = {}
        for model, usage in self._streamed.values():
            valid = Usage(*(amount(getattr(usage, f.name)) for f in fields(Usage)))
            left[model] = sum_of(left.get(model, Usage()), valid)
        self._streamed.clear()
        return self._report({model: ModelSpent(usage, None) for model, usage in left.items() if usage != Usage()})

    def _stream_event(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "message_start":
                self._put(event["message"])
                self._open = event["message"]["id"]
            case "message_delta" if self._open in self._streamed:
                model, usage = self._streamed[self._open]
                self._streamed[self._open] = (model, counted(event.get("usage") or {}, usage))
                self._open = ""

    def _put(self, message: Mapping[str, Any]) -> None:
        self._streamed[message["id"]] = (str(message["model"]), counted(message.get("usage") or {}, Usage()))

    def _report(self, by_model: Mapping[str, ModelSpent]) -> Spent | None:
        return Spent(by_model, self._at_list_price) if by_model else None

    def _new(self, model: str, totals: Mapping[str, Any]) -> ModelSpent:
        """Return the difference of a model's totals to what was reported; a total that is lower counts as equal."""
        before = self._reported.get(model, _NOTHING)
        usage = Usage(**{field: amount(totals.get(name)) for field, name in OF_A_MODEL.items()})
        high = Usage(*(max(getattr(usage, f.name), getattr(before.usage, f.name)) for f in fields(Usage)))
        cost = max(finite(totals.get("costUSD")) or 0.0, before.cost_usd or 0.0)
        self._reported[model] = ModelSpent(high, cost)
        new = Usage(*(getattr(high, f.name) - getattr(before.usage, f.name) for f in fields(Usage)))
        return ModelSpent(new, cost - (before.cost_usd or 0.0))
