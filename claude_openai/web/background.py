"""Responses in the background: created by one request, and read, streamed, taken up again and cancelled by others.

Each is a lasting run whose frames are those of its stream. When it has ended, its response is in the store, and its
frames are kept for those who take up the stream.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any, cast

import trio
from quart import Quart, Response, request
from werkzeug.routing import BaseConverter

from claude_openai.errors import QUEUE_FULL_RETRY_AFTER_S, BadRequest, NotFound, QueueFull, RunCancelled, RunsElsewhere
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.openai.responses.stored_form import ENDED
from claude_openai.protocol.openai.responses.stream import ResponsesStream
from claude_openai.protocol.wire.bad_request import unsupported_parameter, wrong_value
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.runs.kept_answers import KeptAnswers
from claude_openai.runs.lasting import Lasting, Settle
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run
from claude_openai.web.http.exchange import exchange_of
from claude_openai.web.joining import Joinable
from claude_openai.web.json_response import json_response
from claude_openai.web.lasting import LastingTurns, Opening
from claude_openai.web.stored_responses import Keeping, StoredResponses

__all__ = ["BackgroundResponses", "add_background_routes"]


class _BackgroundRun(Lasting):
    """A response in the background.

    Args:
        caller: as in `Exchange`.
        encoder: encodes it.
        settle: as for `Lasting`.

    Attributes:
        so_far: returns the response in its current state.
    """

    def __init__(self, caller: str, encoder: ResponsesStream, settle: Settle) -> None:
        super().__init__(settle=settle)
        self.caller = caller
        self.frames += encoder.queue()
        self.so_far: Callable[[], dict[str, Any]] = lambda: encoder.so_far


@dataclass(frozen=True, slots=True)
class BackgroundResponses:
    """The responses in the background, and their views. A caller finds only its own.

    Attributes:
        runs: the registry.
        turns: starts and reads the runs.
        stored: the stored responses.
        most: the largest number of responses that have not ended.
    """

    runs: Runs
    turns: LastingTurns
    stored: StoredResponses
    most: int
    _running: dict[str, _BackgroundRun] = field(default_factory=dict)
    _ended: KeptAnswers[str, _BackgroundRun] = field(default_factory=KeptAnswers)

    async def create(
        self,
        asked: Joinable | None,
        opening: Opening,
        encoder: ResponsesStream,
        keeping: Keeping,
        *,
        stream: bool,
    ) -> Response:
        """Begin a response, or join it by its idempotency key, and answer with its first state or its stream.

        Args:
            asked: the request with its key; None without a key.
            opening: opens the run.
            encoder: encodes the response.
            keeping: stores its states.
            stream: whether the answer is its stream.

        Raises:
            QueueFull: there are too many.
            ApiError: as `Runs.open`.
        """
        found = None if asked is None else self.turns.join(asked)
        run = found if isinstance(found, _BackgroundRun) else self._begun(asked, opening, encoder, keeping)
        try:
            await run.wait_opened()
        except trio.Cancelled:
            if asked is None:
                run.scope.cancel(reason="the client left before it got the id of the response")
            raise
        if run.failure is not None:
            raise copy(run.failure)
        if stream:
            return await self.turns.read(run, stream=True)
        return json_response(run.so_far())

    async def retrieve(self, response_id: str) -> Response:
        """Return a response in its current state, or its stream."""
        streamed, index = _streaming()
        run = self._found(response_id)
        if streamed and run is not None:
            if run.ended and self.stored.shared is not None:
                await self.stored.retrieve(response_id)  # another server may have deleted it
            exchange_of(request.scope).end_at_disconnect()
            return await self.turns.read(run, stream=True, index=index)
        if run is not None and not run.ended:
            return json_response(run.so_far())
        response = await self.stored.retrieve(response_id)
        if streamed:
            raise unsupported_parameter(
                "stream",
                "Only a response that was created with 'background': true can be streamed again, as long as its events "
                "are kept. Omit 'stream'.",
            )
        return response

    async def cancel(self, response_id: str) -> Response:
        """End a response, unless it has ended; return its state."""
        body = cast("bytes", await request.get_data())
        if body:
            load_object(body)
        run = self._found(response_id)
        if run is not None:
            await self._end(run)
            return json_response(run.so_far())
        response = await self._ended_response(response_id)
        if not (await response.get_json())["background"]:
            raise BadRequest(
                f"The response {shorten(response_id)} cannot be cancelled: it was not created with 'background': true",
                code="not_in_background",
                param="response_id",
            )
        return response

    async def delete(self, response_id: str) -> Response:
        """Delete a response, and end it first if it still runs."""
        run = self._found(response_id)
        if run is not None:
            await self._end(run)
            self._ended.drop(response_id)
        else:
            await self._ended_response(response_id)
        return await self.stored.delete(response_id)

    def forget(self) -> int:
        """Drop the events of responses that have ended; return the number of these responses."""
        return self._ended.clear()

    async def _ended_response(self, response_id: str) -> Response:
        """Return a response that has ended.

        Raises:
            NotFound: it is not stored.
            RunsElsewhere: another server works on it.
        """
        response = await self.stored.retrieve(response_id)
        if (await response.get_json())["status"] not in ENDED:
            raise RunsElsewhere(
                f"Another server works on the response {shorten(response_id)}",
                hint="Send the request to that server, or wait for the end of the response.",
                param="response_id",
                may_retry=False,
            )
        return response

    def _found(self, response_id: str) -> _BackgroundRun | None:
        run = self._running.get(response_id) or self._ended.get(response_id)
        return run if run is not None and run.caller == exchange_of(request.scope).caller else None

    def _begun(
        self, asked: Joinable | None, opening: Opening, encoder: ResponsesStream, keeping: Keeping
    ) -> _BackgroundRun:
        if len(self._running) >= self.most:
            raise QueueFull(
                f"{self.most} responses run or wait in the background, which is the most (--max-background); try again "
                f"in {QUEUE_FULL_RETRY_AFTER_S:g} s.",
                retry_after_s=QUEUE_FULL_RETRY_AFTER_S,
                code="background_full",
            )
        exchange = exchange_of(request.scope)
        run = _BackgroundRun(exchange.caller, encoder, keeping.settle)
        response_id = encoder.so_far["id"]
        self._running[response_id] = run

        async def opened(stack: AsyncExitStack) -> Run:
            stack.callback(self._note_end, response_id, run, encoder)
            opened = await opening(stack)
            keeping.keep(encoder.so_far)
            return opened

        self.turns.begin(asked, run, opened, encoder, ends_unread=False)
        if self.stored.shared is not None:
            show_life = self.stored.shared.show_life
            self.runs.nursery.start_soon(show_life, lambda: not run.ended, run.wait_end, name="sign of life")
        return run

    async def _end(self, run: _BackgroundRun) -> None:
        if run.run is not None and not run.run.ended:
            error = RunCancelled("The response was cancelled.", may_retry=False)
            await self.runs.cancel(run.run, error)
        await run.wait_end()

    def _note_end(self, response_id: str, run: _BackgroundRun, encoder: ResponsesStream) -> None:
        del self._running[response_id]
        if encoder.ended:
            final = encoder.so_far
            run.so_far = lambda: final  # the encoder keeps the request in memory
            self._ended.put(response_id, run, run.size)
        else:
            with suppress(NotFound):
                self.stored.responses.delete(response_id, run.caller, trio.current_time())


def _streaming() -> tuple[bool, int]:
    """Return whether the query asks for a stream, and the index of its first event."""
    stream = request.args.get("stream", "false")
    if stream not in ("true", "false"):
        raise wrong_value("stream", "true or false", stream)
    after = request.args.get("starting_after")
    if after is None:
        return stream == "true", 0
    if not (after.isascii() and after.isdecimal() and len(after) < 10):
        raise wrong_value("starting_after", "the sequence_number of an event", after)
    return stream == "true", int(after) + 1


class _IdOfResponse(BaseConverter):
    """Any part of a path but that of another route, whose `Allow` would have the methods of both."""

    regex = "(?!input_tokens$)[^/]+"
    part_isolating = True


def add_background_routes(app: Quart, responses: BackgroundResponses) -> None:
    """Add the routes of responses that may be in the background."""
    app.url_map.converters["id_of_response"] = _IdOfResponse
    path = "/v1/responses/<id_of_response:response_id>"
    app.add_url_rule(path, "response", responses.retrieve, methods=["GET"])
    app.add_url_rule(path, "delete_response", responses.delete, methods=["DELETE"])
    app.add_url_rule(f"{path}/cancel", "cancel_response", responses.cancel, methods=["POST"])
