"""Parses Claude Code's records, one JSON object a line, and feeds them to `TurnReader`. Both backends use it."""

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from claude_openai.logs.log import Log
from claude_openai.offload import in_thread
from claude_openai.protocol.claude_code.billing_failures import MONEY_KINDS, resets_at
from claude_openai.protocol.claude_code.effects import Effect
from claude_openai.protocol.claude_code.turn_reader import TurnReader

__all__ = ["RecordError", "effects_of", "effects_of_record", "record_of"]


class RecordError(Exception):
    """An invalid record; the text says what is wrong."""


def record_of(line: bytes, log: Log) -> dict[str, Any] | None:
    """Parse a line, without its newline. Lines that are not records are logged, and None is returned.

    Raises:
        RecordError: the line begins like a record but is not valid JSON.
    """
    if not line.lstrip().startswith(b"{"):
        # Some builds of the CLI print notices between the records.
        log.debug("claude.notice", text=line)
        return None
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise RecordError(f"its output is not valid JSON: {line[:100].decode(errors='replace')}") from error
    return record


async def effects_of(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Effect]:
    """Call `effects_of_record`, in a thread if calls or an answer are checked against the client's schemas.

    Claude Code waits for the outcome of those checks. For other records it does not wait, so they are handled at once:
    a turn that is over must be stopped immediately.
    """
    if not _is_checked(record):
        return effects_of_record(record, reader)
    return await in_thread(partial(effects_of_record, record, reader))


def _is_checked(record: Mapping[str, Any]) -> bool:
    match record:
        case {"type": "stream_event", "event": {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}}:
            return True
        case {"type": "stream_event", "abandoned_blocks": {"from_block_index": index}}:
            return bool(index)  # the blocks before it may be calls
        case {"type": "result", "structured_output": answer}:
            return answer is not None
    return False


def effects_of_record(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Effect]:
    """Feed one record to the reader, and return the effects.

    Raises:
        RecordError: the record lacks fields of its type.
    """
    try:
        return _effects(record, reader)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RecordError(f"its output has an invalid record of type {record.get('type')!r}: {error!r}") from error


def _effects(record: Mapping[str, Any], reader: TurnReader) -> Sequence[Effect]:
    if record.get("parent_tool_use_id") is not None:
        return reader.note_subagent(_calls(record) if record["type"] == "assistant" else ())
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
            return reader.assistant(model=message["model"], error=_error(record), text=text, status=status)
        case "user", _:
            if not record.get("isSynthetic"):
                return reader.tool_results(record)
            reader.note_injected_message()
        case "system", "init":
            return reader.begun(record.get("tools") or ())
        case "system", "api_retry":
            return reader.retry(
                status=record.get("error_status"),
                delay_ms=record.get("retry_delay_ms") or 0,
                kind=record.get("error") or "unknown",
            )
        case "rate_limit_event", _:
            info = record["rate_limit_info"]
            at = resets_at(info)
            resets_in_s = None if at is None else at - time.time()
            reader.rate_limit(rejected=info["status"] == "rejected", resets_in_s=resets_in_s)
    return ()


def _error(record: Mapping[str, Any]) -> str | None:
    """Return Claude Code's name of a message's failure; for billing failures the more specific name."""
    finer = record.get("api_error")
    return finer if finer in MONEY_KINDS else record.get("error")


def _calls(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    blocks = record["message"]["content"]
    return [(str(block["id"]), str(block["name"])) for block in blocks if block["type"] == "tool_use"]
