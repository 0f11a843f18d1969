"""The records that Claude Code writes, one JSON object a line -> what `TurnReader` is told.

Knows the fields of the raw records and nothing of turns or processes. Both backends come here.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from claude_openai.logs.log import Log
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.effects import Effect

__all__ = ["RecordError", "effects_of_record", "record_of"]


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
    return record


def effects_of_record(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Effect]:
    """What is to be done about one record.

    Raises:
        RecordError: it has not the fields that its kind has.
    """
    try:
        return _effects(record, reader)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RecordError(
            f"it wrote a record of type {record.get('type')!r} that cannot be read ({error!r})"
        ) from error


def _effects(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Effect]:
    if record.get("parent_tool_use_id") is not None:
        return reader.agent_works(_calls(record) if record["type"] == "assistant" else ())
    match record.get("type"), record.get("subtype"):
        case "stream_event", _:
            void = record.get("abandoned_blocks")
            return reader.stream_event(record["event"], None if void is None else int(void["from_block_index"]))
        case "result", _:
            return reader.result(
                is_error=bool(record["is_error"]),
                status=record.get("api_error_status"),
                reason=record.get("terminal_reason") or "",
                text=record.get("result") or "; ".join(record.get("errors") or ()),
                usage=record.get("usage"),
                models=record.get("model_usage_since_last_result"),
                structured=record.get("structured_output"),
            )
        case "assistant", _:
            message = record["message"]
            text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
            status = record.get("api_error_status")
            return reader.assistant(model=message["model"], error=record.get("error"), text=text, status=status)
        case "user", _:
            if record.get("isSynthetic"):
                reader.told_claude()
        case "system", "api_retry":
            return reader.retry(
                status=record.get("error_status"),
                delay_ms=record.get("retry_delay_ms") or 0,
                kind=record.get("error") or "unknown",
            )
        case "rate_limit_event", _:
            info = record["rate_limit_info"]
            resets_at = info.get("resetsAt")
            resets_in_s = None if resets_at is None else resets_at - time.time()
            reader.rate_limit(rejected=info["status"] == "rejected", resets_in_s=resets_in_s)
    return ()


def _calls(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    blocks = record["message"]["content"]
    return [(str(block["id"]), str(block["name"])) for block in blocks if block["type"] == "tool_use"]
