"""Events of the watch stream, for tests of the live view."""

from typing import Any

from claude_openai.runs.capture.records import RunRecord, RunStatus

__all__ = ["STARTED_AT", "run_view", "snapshot"]

STARTED_AT = 1_795_780_000


def run_view(number: int, status: RunStatus = "completed", **fields: Any) -> dict[str, Any]:
    """A run that began `number` seconds after `STARTED_AT`; an ended run took two seconds."""
    record = RunRecord(f"run_{number:024x}", "sdk", "claude-sonnet", STARTED_AT + number, status, waited_ms=100)
    if status in ("completed", "failed", "cancelled"):
        record.ended_at = record.started_at + 2
        record.usage = {"prompt_tokens": 8123, "completion_tokens": 402}
        record.cost_usd, record.estimated_usd = 0.25, 0.0
    return {**record.to_json(), "client": "OpenAI", "ttft_ms": 900.0, "text": "", "hint": "", **fields}


def snapshot(*runs: dict[str, Any], **state: Any) -> dict[str, Any]:
    """The data of an event `snapshot`."""
    server = {"version": "1.2.3", "backend": "sdk", "pid": 4711, "started_at": STARTED_AT - 60}
    return {"server": server, "state": {"ready": {"ready": True, "reasons": []}, **state}, "runs": list(runs)}
