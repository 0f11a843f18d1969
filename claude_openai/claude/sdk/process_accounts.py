"""The accounts of one live process: asks Claude Code for its totals, and reports to the run that caused them."""

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from claude_openai.protocol.claude_code.spending import ProcessSpending
from claude_openai.protocol.turn.reports import Report

__all__ = ["ProcessAccounts"]


class ProcessAccounts:
    """See the module.

    Args:
        send: writes a line to the process, without waiting.

    Attributes:
        spending: what the process has used.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self.spending = ProcessSpending()
        self._send = send
        self._report: Callable[[Report], None] = _ignore
        self._question = ""
        self._asked_for: Callable[[Report], None] = _ignore

    def begin_turn(self, report: Callable[[Report], None]) -> None:
        """Begin a turn; what the process uses from now on is reported to it."""
        self._report = report

    def ask(self) -> None:
        """Ask for the totals, without waiting: a turn that ends with tool calls has no result record.

        The answer comes within some ms and contains the message that is just ending (2.1.200 to 2.1.332). If it is an
        error, the turn that ends the loop of calls reports them all.
        """
        self._asked_for = self._report  # the client may begin its next turn before the answer
        self._question = f"usage_{uuid.uuid4().hex}"
        # `skip_behaviors` leaves out statistics that it would have to read from session files.
        request = {"subtype": "get_usage", "skip_behaviors": True}
        self._send(json.dumps({"type": "control_request", "request_id": self._question, "request": request}) + "\n")

    def takes(self, frame: Mapping[str, Any]) -> bool:
        """Take a frame if it is the answer to `ask`."""
        if frame.get("type") != "control_response":
            return False
        response = frame.get("response") or {}
        if not self._question or response.get("request_id") != self._question:
            return False
        session = (response.get("response") or {}).get("session")
        report = self.spending.note_totals(session.get("model_usage") if isinstance(session, dict) else None)
        if report is not None:
            self._asked_for(report)
        return True

    def end(self) -> None:
        """Report what a process that has ended did not report itself."""
        report = self.spending.end()
        if report is not None:
            self._report(report)


def _ignore(report: Report) -> None:
    """Do nothing: there was no turn."""
