"""The records that Claude Code writes, one JSON object a line -> what `TurnReader` is told.

Knows the fields of the raw records and nothing of turns or processes. The SDK backend comes here for those that the SDK
passes on as they are.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from claude_openai.logs.log import Log
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.events import Event
from claude_openai.protocol.money import MONEY_KINDS, resets_at

__all__ = ["RecordError", "events_of_record", "record_of"]


class RecordError(Exception):
    """A line that looks like a record and is none; the text says what was wrong."""


def record_of(line: bytes, log: Log) -> dict[str, Any] | None:
    """The record of a line, without its end; None for what is no record, which the log gets.

    Raises:
        RecordError: it looks like a record and is none.
    """
    if not line.lstrip().startswith(b"{"):
        # Some builds of the CLI print notices between the records.
        log.debug("claude.notice", text=line)
        return None
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise RecordError(f"it wrote broken JSON: {line[:100].decode(errors='replace')}") from error
    if record.get("api_error") in MONEY_KINDS:  # finer than `error`, and the SDK does not pass it on
        record["error"] = record["api_error"]
    return record


def events_of_record(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Event]:
    """What one record means.

    Raises:
        RecordError: it has not the fields that its kind has.
    """
    try:
        return _events(record, reader)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RecordError(
            f"it wrote a record of type {record.get('type')!r} that cannot be read ({error!r})"
        ) from error


def _events(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Event]:
    match record.get("type"), record.get("subtype"):
        case "stream_event", _:
            return reader.stream_event(record["event"]) if record.get("parent_tool_use_id") is None else ()
        case "result", _:
            return reader.result(
                is_error=bool(record["is_error"]),
                status=record.get("api_error_status"),
                reason=record.get("terminal_reason") or "",
                text=record.get("result") or "; ".join(record.get("errors") or ()),
                usage=record.get("usage"),
                structured=record.get("structured_output"),
            )
        case "assistant", _:
            message = record["message"]
            text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
            reader.assistant(model=message["model"], error=record.get("error"), text=text)
        case "system", "api_retry":
            event = reader.retry(
                status=record.get("error_status"),
                delay_ms=record.get("retry_delay_ms") or 0,
                kind=record.get("error") or "unknown",
            )
            return [] if event is None else [event]
        case "rate_limit_event", _:
            info = record["rate_limit_info"]
            at = resets_at(info)
            resets_in_s = None if at is None else at - time.time()
            reader.rate_limit(rejected=info["status"] == "rejected", resets_in_s=resets_in_s)
    return ()
