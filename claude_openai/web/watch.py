"""`GET /control/watch`: all that a server does, as server-sent events, for the page and for `claude-openai top`."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import trio
from quart.wrappers.response import ResponseBody

from claude_openai._version import __version__
from claude_openai.claude.backend import ClaudeProcess
from claude_openai.claude.process.free_memory import private_mb
from claude_openai.config import Config
from claude_openai.keys.key import Key
from claude_openai.logs.log import Log
from claude_openai.protocol.wire.sse import COMMENT
from claude_openai.runs.registry import Runs
from claude_openai.runs.watch import Watch
from claude_openai.threads import NoThreadError, run_in_thread
from claude_openai.web.readiness import readiness
from claude_openai.web.status import BackendStatus

__all__ = ["WatchBody", "watch_of"]

COMMENT_INTERVAL_S: Final = 15.0
_UNKNOWN: Final[Mapping[str, Any]] = {
    "ready": {"ready": True, "reasons": [], "warnings": []},
    "login": None,
    "slots": None,
    "processes": [],
    "memory_mb": None,
    "conversations": [],
    "usage": {},
    "limits": [],
    "overage": None,
    "refusing": None,
    "problem": None,
}


def watch_of(config: Config, runs: Runs, status: BackendStatus, log: Log) -> Watch:
    """Compose the watch of a server."""
    server = {"version": __version__, "backend": runs.backend.name, "pid": os.getpid(), "started_at": time.time()}
    details = _Details(config, runs, status, log)
    return Watch(runs, server, details.read, _UNKNOWN)


class WatchBody(ResponseBody):
    """The body of the stream. It ends when the server drains.

    Args:
        watch: source of the frames; its `watching` must hold as long as the body is read.
        runs: the runs of the server.
        may_go_on: called before each frame, and between comments; the stream ends when it returns False.
        key: the named key of the watcher, None for the server's own.
    """

    def __init__(self, watch: Watch, runs: Runs, may_go_on: Callable[[], bool], key: Key | None = None) -> None:
        self._watch = watch
        self._runs = runs
        self._may_go_on = may_go_on
        self._key = key
        self._seen = -1

    async def __aenter__(self) -> "WatchBody":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    def __aiter__(self) -> "WatchBody":
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(COMMENT_INTERVAL_S):
            while not self._runs.admission.draining and self._may_go_on():
                self._seen, frame = await self._watch.next_frame(self._seen, self._key)
                if frame:
                    return frame
            raise StopAsyncIteration
        return COMMENT


class _Details:
    """What is read every few seconds while someone watches."""

    def __init__(self, config: Config, runs: Runs, status: BackendStatus, log: Log) -> None:
        self._config = config
        self._log = log
        self._runs = runs
        self._status = status

    async def read(self) -> Mapping[str, Any]:
        ledger, found = self._runs.ledger, self._of_server() | self._of_backend()
        with suppress(NoThreadError):  # the figures stay as they are until there is one
            read = ledger.read_rows
            rows, problem = await run_in_thread(read, abandon_on_cancel=True) if ledger.has_file else read()
            report, seen = ledger.report(rows, problem), ledger.seen_windows().windows
            # Not `age_s`, which would differ each time.
            windows = [
                {**{name: value for name, value in window.items() if name != "age_s"}, "seen_at": seen_at}
                for window in report["windows"]
                for seen_at in (round(seen[window["window"]].seen_at),)
            ]
            found |= {name: report[name] for name in ("overage", "refusing", "problem")}
            found |= {"usage": report["today"], "limits": windows}
        return found

    def _of_server(self) -> dict[str, Any]:
        status, admission = self._status(), self._runs.admission
        return {
            "ready": readiness(self._runs, status, self._log),
            "login": status.get("claude", {}).get("login"),
            "slots": {
                "running": admission.running,
                "queued": admission.queued,
                "max_concurrency": self._config.max_concurrency,
                "max_queue_size": self._config.max_queue_size,
            },
        }

    def _of_backend(self) -> dict[str, Any]:
        backend = self._runs.backend
        processes, own = backend.processes(), private_mb(os.getpid())
        known = [own, *(process.memory_mb for process in processes)]
        return {
            "processes": [_process(process) for process in processes],
            "memory_mb": None if own is None else sum(each for each in known if each is not None),
            "conversations": [
                {
                    "id": each.id,
                    "phase": each.phase,
                    "model": each.model,
                    "messages": each.messages,
                    "since": round(each.since),
                }
                for each in backend.conversations()
            ],
        }


def _process(process: ClaudeProcess) -> dict[str, Any]:
    return {"kind": process.kind, "memory_mb": process.memory_mb}
