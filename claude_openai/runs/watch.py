"""What a server does, as a stream of frames for any number of watchers: a snapshot, then updates.

A watcher pulls: it asks for the frame after its last. The first watcher that asks after a change makes the frame, and
the others get the same bytes, so a change is encoded once. No run ever waits for a watcher. A watcher that comes too
late for a frame gets a new snapshot, so a slow watcher costs no memory.

Each run is encoded when it has changed, and its bytes are kept while someone watches. Prompts are never part of them.
"""

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import trio

from claude_openai.errors import BadRequest
from claude_openai.keys.key import Key
from claude_openai.protocol.wire.sse import encode_json
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run

__all__ = ["Watch"]

INTERVAL_S: Final = 0.2
# More watchers get fewer updates: each update that is sent takes about 0.2 ms of the event loop.
MAX_SENDS_PER_S: Final = 25
DETAILS_INTERVAL_S: Final = 2.0
# How long a first snapshot may wait for the details, some of which are read from a file.
FIRST_DETAILS_S: Final = 1.0
MAX_RUNS: Final = 1000
# Of frames for watchers that lag behind; beyond it they get a snapshot.
KEPT_FRAMES: Final = 8
# What of the state is not about the runs of others.
SHARED_STATE: Final = frozenset({"ready", "login", "slots"})
# Runs to encode between two checkpoints: about 0.4 ms.
BATCH: Final = 25


class _Frame(NamedTuple):
    """An update, and its parts, of which a named key gets some."""

    whole: bytes
    state: Mapping[str, bytes]
    views: Mapping[str, bytes]


class Watch:
    """The frames of one server.

    Args:
        runs: its runs.
        server: facts that do not change, for the snapshot.
        details: returns further parts of the state, by name. It may take its time, and is called about every 2 s.
        empty: the details before the first call has returned.
    """

    def __init__(
        self,
        runs: Runs,
        server: Mapping[str, Any],
        details: Callable[[], Awaitable[Mapping[str, Any]]],
        empty: Mapping[str, Any],
    ) -> None:
        self._runs = runs
        self._changes = runs.changes
        self._server = encode_json(server)
        self._details = details
        self._details_due = -math.inf
        self._refreshing = trio.Lock()
        self._lock = trio.Lock()
        self._empty = {"errors": b"[]", **{name: encode_json(value) for name, value in empty.items()}}
        self._state = {name: encode_json(value) for name, value in empty.items()}
        self._changed_state: dict[str, bytes] = {}
        self._views: dict[str, bytes] = {}
        self._changed_views: dict[str, bytes] = {}
        self._parked: set[str] = set()
        self._frames: deque[_Frame] = deque(maxlen=KEPT_FRAMES)
        self._number = 0
        self._snapshot: tuple[int, bytes] = (-1, b"")
        self._is_first = True
        self._looked = 0
        self._next_at = -math.inf

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch for the length of the block, in which `next_frame` may be called."""
        with self._changes.watched(self._forget):
            with trio.move_on_after(FIRST_DETAILS_S):
                await self._refresh()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_refreshing)
                nursery.start_soon(self._wake_at_drain)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel(reason="the watcher has left")

    async def next_frame(self, seen: int, key: Key | None = None) -> tuple[int, bytes]:
        """Wait for the next frame.

        Args:
            seen: the number of the last frame of this watcher, -1 for none.
            key: the named key of the watcher, whose frames have only its own runs; None for the server's own.

        Returns:
            The number of the frame, and its bytes; b"" if there was a change that is not part of the frames of this
            watcher, such as the beginning of a drain.
        """
        if seen == self._number:
            looked = self._looked
            await self._changes.wait()
            async with self._lock:
                if looked == self._looked:
                    await trio.sleep_until(self._next_at)
                    await self._advance()
        if seen == self._number:
            return seen, b""
        missed = self._number - seen
        if seen >= 0 and missed <= len(self._frames):
            frame = self._frames[-missed]
            return seen + 1, frame.whole if key is None else self._own_update(frame, key)
        async with self._lock:
            number, whole = await self._whole()
            return number, whole if key is None else self._own_snapshot(key)

    def _forget(self) -> None:
        """Drop what was collected for watchers that have all left."""
        self._views.clear()
        self._changed_views.clear()
        self._parked.clear()
        self._frames.clear()
        self._snapshot = (-1, b"")
        self._is_first = True
        self._number += 1

    async def _keep_refreshing(self) -> None:
        while True:
            await trio.sleep_until(self._details_due)
            await self._refresh()

    async def _refresh(self) -> None:
        async with self._refreshing:
            if trio.current_time() < self._details_due:
                return
            self._details_due = trio.current_time() + DETAILS_INTERVAL_S
            for name, value in (await self._details()).items():
                self._put(name, value)
            if self._changed_state:
                self._changes.wake()

    def _put(self, name: str, value: Any) -> None:
        encoded = encode_json(value)
        if self._state.get(name) != encoded:
            self._state[name] = self._changed_state[name] = encoded

    async def _wake_at_drain(self) -> None:
        await self._runs.admission.wait_draining()
        self._changes.wake()

    async def _advance(self) -> None:
        """Make the next frame, if anything is different from the last. A cancel loses nothing."""
        changed = self._changes.begin()
        await self._encode((*changed, *self._unparked()))
        self._put("counts", self._runs.counts())
        self._put("errors", self._runs.errors.to_json(time.time()))
        self._looked += 1
        self._next_at = trio.current_time() + max(INTERVAL_S, self._changes.watchers / MAX_SENDS_PER_S)
        if not (self._changed_views or self._changed_state):
            return
        state = b'"state":' + _object(self._changed_state) + b"," if self._changed_state else b""
        runs = b'"runs":[' + b",".join(self._changed_views.values()) + b"]"
        whole = _frame(b"update", b"{" + state + runs + b"}")
        self._frames.append(_Frame(whole, dict(self._changed_state), dict(self._changed_views)))
        self._number += 1
        self._drop_changes()

    def _drop_changes(self) -> None:
        self._changed_views.clear()
        self._changed_state.clear()

    def _unparked(self) -> list[str]:
        """Return the runs whose conversation no longer waits, which no event shows."""
        parked = {run_id: self._runs.get(run_id) for run_id in self._parked}
        return [run_id for run_id, run in parked.items() if run is None or run.state != "parked"]

    async def _encode(self, run_ids: Iterable[str]) -> None:
        for index, run_id in enumerate(run_ids, start=1):
            run = self._runs.get(run_id)
            if run is None:
                self._views.pop(run_id, None)
                self._parked.discard(run_id)
            else:
                view = self._view(run)
                if self._views.get(run_id) != view:
                    self._views[run_id] = self._changed_views[run_id] = view
            self._changes.taken(run_id)
            if index % BATCH == 0:
                await trio.lowlevel.checkpoint()

    async def _whole(self) -> tuple[int, bytes]:
        if self._snapshot[0] != self._number:
            newest = sorted(self._runs.all(), key=lambda run: run.record.started_at, reverse=True)[:MAX_RUNS]
            await self._encode(run.id for run in newest if run.id not in self._views)
            views = self._views = {run.id: self._views[run.id] for run in newest if run.id in self._views}
            self._put("counts", self._runs.counts())
            self._put("errors", self._runs.errors.to_json(time.time()))
            parts = (b'{"server":' + self._server, b'"state":' + _object(self._state))
            body = b",".join((*parts, b'"runs":[' + b",".join(views.values()) + b"]}"))
            self._snapshot = self._number, _frame(b"snapshot", body)
            if self._is_first:  # no other watcher needs an update with what is in it
                self._is_first = False
                self._drop_changes()
        return self._snapshot

    def _own_update(self, frame: "_Frame", key: Key) -> bytes:
        views = self._own(frame.views, key)
        state = {name: value for name, value in frame.state.items() if name in SHARED_STATE}
        if not views and not state:
            return b""
        state["counts"] = encode_json(self._runs.counts(key))
        return _frame(b"update", b'{"state":' + _object(state) + b',"runs":[' + b",".join(views) + b"]}")

    def _own_snapshot(self, key: Key) -> bytes:
        shared = {name: value for name, value in self._state.items() if name in SHARED_STATE}
        state = {**self._empty, **shared, "counts": encode_json(self._runs.counts(key))}
        views = b'"runs":[' + b",".join(self._own(self._views, key)) + b"]}"
        return _frame(b"snapshot", b",".join((b'{"server":' + self._server, b'"state":' + _object(state), views)))

    def _own(self, views: Mapping[str, bytes], key: Key) -> list[bytes]:
        runs = ((self._runs.get(run_id), view) for run_id, view in views.items())
        return [view for run, view in runs if run is not None and run.is_of(key)]

    def _view(self, run: Run) -> bytes:
        record = run.view()
        (self._parked.add if record.status == "parked" else self._parked.discard)(run.id)
        first_s, view = run.meter.first_token_s, record.to_json()
        error = view["error"]
        # The message about an invalid field may quote its value, which can be a part of the conversation.
        if error is not None and error.get("param") and error.get("type") == BadRequest.type:
            view["error"] = {**error, "message": f"The field {error['param']} is invalid"}
        return encode_json(
            {
                **view,
                "client": run.client,
                "ttft_ms": None if first_s is None else round(first_s * 1000, 1),
                "text": run.tail,
                "hint": run.hint,
            }
        )


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"' + name.encode() + b'":' + value for name, value in members.items()) + b"}"


def _frame(name: bytes, data: bytes) -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"
