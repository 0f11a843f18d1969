"""What one process of Claude Code has used, in tokens and dollars.

The process reports dollars only with the result of a turn, as totals by model that go on over its turns. Until then its
messages are reported with estimated dollars, one by one: a client's tools can be called a hundred times before there is
a result, and a turn that is cancelled has none. The result replaces the estimates, so nothing is counted twice.

`get_usage` would have the totals earlier. But with a subscription Claude Code asks claude.ai for it, and what is sent
to the process later waits for that.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from claude_openai.protocol.claude_code.account_limits import amount, finite, limits_of
from claude_openai.protocol.claude_code.list_prices import estimated_usd
from claude_openai.protocol.claude_code.usage import OF_A_MODEL, counted, difference, sum_of
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import ModelSpent, Report, Spent

__all__ = ["ProcessSpending"]

_NOTHING: Final = ModelSpent()


class ProcessSpending:
    """Follows one process by its records. An invalid record is ignored: no turn may fail because of it."""

    def __init__(self) -> None:
        self._at_list_price = False
        self._totals: dict[str, ModelSpent] = {}
        # Since the last result: each message's model and tokens, by its id, and the sum of the estimates of each model.
        self._messages: dict[str, tuple[str, Usage]] = {}
        self._estimates: dict[str, ModelSpent] = {}
        self._streaming = ""

    def take(self, record: Mapping[str, Any]) -> Report | None:
        """Take the next record of the process; return a report if there is something new."""
        try:
            match record.get("type"):
                case "stream_event" if record.get("parent_tool_use_id") is None:
                    return self._stream_event(record["event"])
                case "assistant" if record.get("parent_tool_use_id") is not None:
                    # A sub-agent's message is not streamed; there is a record for each of its blocks.
                    message = record["message"]
                    return self._estimate(message["id"], message["model"], message["usage"])
                case "result":
                    return self._settle(record["modelUsage"])
                case "rate_limit_event":
                    limits = limits_of(record["rate_limit_info"])
                    self._at_list_price = True  # Claude Code reports limits to subscribers only
                    return limits
        except (LookupError, TypeError, ValueError, AttributeError):
            pass
        return None

    def _stream_event(self, event: Mapping[str, Any]) -> Spent | None:
        match event.get("type"):
            case "message_start":
                message = event["message"]
                self._streaming = message["id"]
                return self._estimate(message["id"], message["model"], message["usage"])
            case "message_delta" if self._streaming in self._messages:
                return self._estimate(self._streaming, self._messages[self._streaming][0], event["usage"])
        return None

    def _estimate(self, message_id: str, model: str, counts: Mapping[str, Any]) -> Spent | None:
        """Report what a message has used since its last record."""
        before = self._messages.get(message_id, (model, Usage()))[1]
        known = counted(counts, before)
        usage = Usage(*(amount(getattr(known, f.name)) for f in fields(Usage)))
        self._messages[message_id] = (model, usage)
        added = difference(usage, before)
        usd = estimated_usd(model, added, long_cache=self._at_list_price)
        so_far = self._estimates.get(model, _NOTHING)
        self._estimates[model] = ModelSpent(
            estimated_usage=sum_of(so_far.estimated_usage, added), estimated_usd=so_far.estimated_usd + usd
        )
        return self._report({model: ModelSpent(estimated_usage=added, estimated_usd=usd)})

    def _settle(self, totals: Mapping[str, Mapping[str, Any]]) -> Spent | None:
        """Report how the totals differ from those of the last result, and take the estimates back."""
        new = {str(model): self._new(str(model), total) for model, total in totals.items()}
        for model, estimate in self._estimates.items():
            reported = new.get(model, _NOTHING)
            new[model] = ModelSpent(
                reported.usage,
                reported.cost_usd,
                difference(Usage(), estimate.estimated_usage),
                -estimate.estimated_usd,
            )
        self._messages.clear()
        self._estimates.clear()
        return self._report(new)

    def _new(self, model: str, total: Mapping[str, Any]) -> ModelSpent:
        usage = Usage(**{field: amount(total.get(name)) for field, name in OF_A_MODEL.items()})
        now, before = ModelSpent(usage, finite(total.get("costUSD")) or 0.0), self._totals.get(model, _NOTHING)
        if now.cost_usd < before.cost_usd:  # the process counts from 0 again
            before = _NOTHING
        self._totals[model] = now
        return ModelSpent(difference(usage, before.usage), now.cost_usd - before.cost_usd)

    def _report(self, by_model: Mapping[str, ModelSpent]) -> Spent | None:
        new = {model: spent for model, spent in by_model.items() if spent != _NOTHING}
        return Spent(new, self._at_list_price) if new else None
