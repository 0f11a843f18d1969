"""The control routes: list runs, show their output, and cancel them.

They are for the commands of this program, and exist only if there is a key: the control key or the server's. The format
of a run id is checked before a file is looked up, so that a request cannot name another file.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import trio
from quart import Quart, Response, request
from quart.wrappers.response import ResponseBody
from quart_trio.wrappers import TrioResponse

from claude_openai.config import Config
from claude_openai.errors import BadRequest, NotFound, RunCancelled, RunNotFound
from claude_openai.file_access import READ_BYTES
from claude_openai.keys.key import Key
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.line_framer import LineFramer
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.runs.capture.files import MAX_LISTED, find_run, list_runs, open_folder, open_run, read_limit
from claude_openai.runs.capture.records import RUN_ID, RunRecord, is_end
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run
from claude_openai.runs.watch import Watch
from claude_openai.threads import run_in_thread
from claude_openai.web.access import has_control_routes
from claude_openai.web.http.exchange import exchange_of
from claude_openai.web.json_response import EVENT_STREAM, json_response
from claude_openai.web.page_access import PageAccess
from claude_openai.web.status import BackendStatus
from claude_openai.web.watch import WatchBody, watch_of

__all__ = ["add_control_routes"]

DEFAULT_LIMIT: Final = 100
# The capture's writer thread sends no event when it has written. It collects deltas for half of this time.
FOLLOW_POLL_S: Final = 0.1
# How long to wait for the first record of a new run, or the last of an ended one.
WRITTEN_WITHIN_S: Final = 1.0


def add_control_routes(
    app: Quart, config: Config, runs: Runs, status: BackendStatus, access: PageAccess, log: Log
) -> None:
    """Add the control routes, if there is a key for them.

    Args:
        app: the app.
        config: the settings.
        runs: the runs of the server.
        status: that of the backend.
        access: the sessions of the page.
        log: the log of the server.
    """
    if not has_control_routes(config):
        return
    views = ControlViews(runs, config.output_dir, watch_of(config, runs, status, log), access)
    app.add_url_rule("/control/status", "control_status", views.status, methods=["GET"])
    app.add_url_rule("/control/runs", "control_runs", views.list, methods=["GET"])
    app.add_url_rule("/control/runs/<run_id>", "control_run", views.show, methods=["GET"])
    app.add_url_rule("/control/runs/<run_id>/output", "control_output", views.output, methods=["GET"])
    app.add_url_rule("/control/runs/<run_id>/cancel", "control_cancel", views.cancel, methods=["POST"])
    app.add_url_rule("/control/watch", "control_watch", views.watch, methods=["GET"])
    app.add_url_rule("/control/conversations/<conversation>/close", "control_close", views.close, methods=["POST"])


@dataclass(frozen=True, slots=True)
class ControlViews:
    """The views. Runs in the registry are listed and shown from there, not from their files."""

    runs: Runs
    folder: Path | None
    watching: Watch
    access: PageAccess

    async def status(self) -> Response:
        return json_response(self.runs.counts(_key()))

    async def list(self) -> Response:
        """List the newest runs first, at most `limit`."""
        limit, key = _limit(request.args.get("limit")), _key()
        known = {run.id: run.view() for run in self.runs.all() if run.is_of(key)}
        name = None if key is None else key.name
        kept = [] if self.folder is None else await run_in_thread(list_runs, self.folder, limit, frozenset(known), name)
        newest = sorted([*known.values(), *kept], key=lambda record: record.started_at, reverse=True)
        return json_response({"object": "list", "data": [record.to_json() for record in newest[:limit]]})

    async def show(self, run_id: str) -> Response:
        _check_id(run_id)
        return json_response((await self._record(run_id)).to_json())

    async def output(self, run_id: str) -> Response:
        """Return the captured records; with `follow=1`, stream them until the run ends."""
        _check_id(run_id)
        run = self.runs.get(run_id)
        if _key() is not None:
            await self._record(run_id)
        fd = await self._open(run_id, run)
        exchange_of(request.scope).stack.callback(os.close, fd)
        follow = run if request.args.get("follow") == "1" else None
        headers = {"content-type": "application/x-ndjson", "cache-control": "no-cache"}
        return TrioResponse(RecordsBody(fd, follow), headers=headers)

    async def cancel(self, run_id: str) -> Response:
        _check_id(run_id)
        run = self.runs.get(run_id)
        if run is None or not run.is_of(_key()):
            raise _unknown(run_id)
        await self.runs.cancel(run, RunCancelled("The run was cancelled on the server.", may_retry=False))
        return json_response(run.view().to_json())

    async def watch(self) -> Response:
        """Stream all that the server does, until the client leaves or the server drains.

        A named key gets its own runs, and of the rest the state of the server only.
        """
        exchange = exchange_of(request.scope)
        exchange.end_at_disconnect()
        await exchange.stack.enter_async_context(self.watching.watching())
        session = self.access.session_of(request.headers)
        key = exchange.key
        may_go_on = partial(self.access.is_valid, key) if session is None else partial(self.access.is_open, session)
        return TrioResponse(WatchBody(self.watching, self.runs, may_go_on, key), headers=EVENT_STREAM)

    async def close(self, conversation: str) -> Response:
        """End a conversation that waits for its next request."""
        if not await self.runs.backend.close_conversation(conversation):
            raise NotFound(
                "No waiting conversation has this id; it may have ended, or be in use",
                hint="`GET /control/watch` lists them.",
                code="conversation_not_found",
            )
        return json_response({"id": conversation, "closed": True})

    async def _record(self, run_id: str) -> RunRecord:
        """Return the record of a run that the client may see."""
        run = self.runs.get(run_id)
        record = run.view() if run is not None else None
        if record is None and self.folder is not None:
            record = await run_in_thread(find_run, self.folder, run_id)
        key = _key()
        if record is None or (key is not None and record.key != key.name):
            raise _unknown(run_id)
        return record

    async def _open(self, run_id: str, run: Run | None) -> int:
        if self.folder is not None:
            with trio.move_on_after(WRITTEN_WITHIN_S):
                while True:
                    fd = await run_in_thread(_open, self.folder, run_id)
                    if fd is not None:
                        return fd
                    if run is None or run.done.is_set():
                        break
                    await trio.sleep(FOLLOW_POLL_S)
        if run is None:
            raise _unknown(run_id)
        raise RunNotFound(f"The output of {run_id} is not captured (--output-dir).", code="run_not_captured")


class RecordsBody(ResponseBody):
    """The whole lines of a run's file as the body of a response.

    Args:
        fd: the file; it is not closed.
        follow: stream until this run ends; None to end at the end of the file.
    """

    def __init__(self, fd: int, follow: Run | None) -> None:
        self._fd = fd
        self._follow = follow
        self._framer = LineFramer()
        self._ended = False

    async def __aenter__(self) -> "RecordsBody":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    def __aiter__(self) -> "RecordsBody":
        return self

    async def __anext__(self) -> bytes:
        patience = WRITTEN_WITHIN_S
        while True:
            data = await run_in_thread(os.read, self._fd, READ_BYTES)
            lines = self._whole_lines(data) if data else b""
            if lines:
                return lines
            if data:
                continue
            if self._ended or self._follow is None or patience <= 0:
                raise StopAsyncIteration
            if self._follow.done.is_set():
                patience -= FOLLOW_POLL_S  # wait a bounded time: on a full disk the last record is missing
            await trio.sleep(FOLLOW_POLL_S)

    def _whole_lines(self, data: bytes) -> bytes:
        lines = self._framer.feed(data)
        self._ended |= any(is_end(line) for line in lines)
        return b"".join(line + b"\n" for line in lines)


def _key() -> Key | None:
    """Return the named key of the client, who sees only its own runs; None for the server's own key."""
    return exchange_of(request.scope).key


def _limit(value: str | None) -> int:
    if value is None:
        return DEFAULT_LIMIT
    limit = read_limit(value)
    if limit is None:
        raise BadRequest(
            f"Invalid 'limit': {shorten(value)}; expected a whole number from 1 to {MAX_LISTED}.", param="limit"
        )
    return limit


def _check_id(run_id: str) -> None:
    if not RUN_ID.fullmatch(run_id):
        raise BadRequest("Invalid run id; expected 'run_' and 24 hex digits.", param="run_id")


def _unknown(run_id: str) -> RunNotFound:
    return RunNotFound(f"Run {run_id} does not exist", hint="`claude-openai runs` lists the runs.")


def _open(folder: Path, run_id: str) -> int | None:
    try:
        with open_folder(folder) as folder_fd:
            return open_run(folder_fd, run_id)
    except OSError:
        return None
