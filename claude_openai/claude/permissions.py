"""Claude Code's questions whether it may use one of its own tools: nobody is there to be asked.

What a permission mode allows unasked, Claude Code decides; whatever it would ask for is refused, with words that tell
Claude so, and noted in the log.
"""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.logs.log import Log

__all__ = ["permission_answer"]

NOBODY: Final = (
    "This needs a permission that the request did not give, and nobody can be asked. Do without it, or tell the user "
    "what you would have done."
)


def permission_answer(frame: Mapping[str, Any], log: Log) -> dict[str, Any] | None:
    """The frame that answers a `can_use_tool` request; None if the frame is none."""
    request = frame.get("request") or {}
    if request.get("subtype") != "can_use_tool":
        return None
    log.info("sdk.can_use_tool", tool=request.get("tool_name"), allowed=False)
    log.trace("sdk.can_use_tool_input", tool=request.get("tool_name"), input=request.get("input"))
    answer = {"behavior": "deny", "message": NOBODY}
    response = {"subtype": "success", "request_id": frame.get("request_id"), "response": answer}
    return {"type": "control_response", "response": response}
