"""The views of the APIs.

A view parses the request, opens a run on the exchange's stack, and turns the run's events into a response.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import trio
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai.cassettes.recorder import Recorder, TurnRecording
from claude_openai.config import Config
from claude_openai.errors import (
    NotFound,
)
from claude_openai.logs.log import Level, Log
from claude_openai.offload import Offload, in_thread
from claude_openai.protocol.anthropic.messages.message import MessageHead, MessageObject
from claude_openai.protocol.anthropic.messages.request import parse_messages_request
from claude_openai.protocol.anthropic.messages.stream import MessageStream
from claude_openai.protocol.anthropic.models import model_list, model_object
from claude_openai.protocol.openai.chat.chunks import ChunkStream
from claude_openai.protocol.openai.chat.completion import Completion, ResponseHead
from claude_openai.protocol.openai.completions.request import parse_completions_request
from claude_openai.protocol.openai.completions.text_completion import TextCompletion, TextStream
from claude_openai.protocol.openai.responses.objects import ResponsesHead
from claude_openai.protocol.openai.responses.request import parse_chat_body, parse_responses_request
from claude_openai.protocol.openai.responses.stream import ResponsesObject, ResponsesStream
from claude_openai.protocol.turn.events import Event, TurnFailed, TurnStarted
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run
from claude_openai.web.claude_options_access import ClaudeOptionsGuard
from claude_openai.web.client_name import client_name
from claude_openai.web.http.event_stream import EventStreamBody, Frames
from claude_openai.web.http.exchange import Exchange, exchange_of
from claude_openai.web.http.peer import PEER_UID, Address
from claude_openai.web.json_response import EVENT_STREAM, json_response
from claude_openai.web.key_limits import allows_model, check_model
from claude_openai.web.stored_responses import StoredResponses
from claude_openai.web.usage import LIMIT_HEADER

if TYPE_CHECKING:
    from claude_openai.runs.tracing import RunTrace, Tracing

__all__ = ["Views"]

LOGGED_CHARS = 256


@dataclass(frozen=True, slots=True)
class Views:
    """The views of OpenAI's APIs and of Claude's."""

    config: Config
    runs: Runs
    started: int
    options_guard: ClaudeOptionsGuard
    catalog: Callable[[], ModelCatalog]
    stored: StoredResponses
    offload: Offload = in_thread
    recorder: Recorder | None = None
    tracing: "Tracing | None" = None

    async def models(self) -> Response:
        catalog, key = self.catalog(), exchange_of(request.scope).key
        models = catalog.model_list(self.started)
        if key is not None:
            models["data"] = [model for model in models["data"] if allows_model(key, model["id"], catalog)]
        is_anthropic = exchange_of(request.scope).is_anthropic
        return json_response(model_list(models, self._started_at()) if is_anthropic else models)

    async def model(self, model: str) -> Response:
        # Any model that a completion accepts, listed or not.
        catalog, key = self.catalog(), exchange_of(request.scope).key
        found = catalog.model_object(model, self.started)
        if key is not None:
            check_model(key, model, catalog)
        is_anthropic = exchange_of(request.scope).is_anthropic
        return json_response(model_object(found, self._started_at()) if is_anthropic else found)

    async def chat_completions(self) -> Response:
        body = cast("bytes", await request.get_data())
        catalog = self.catalog()
        chat = await self.offload(lambda: parse_chat_body(body, catalog))
        head = ResponseHead(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=chat.model)
        run = await self._opened(chat, body, head.id)
        if chat.stream:
            return await self._streamed(run, ChunkStream(head, chat.include_usage, functions=chat.functions))
        return await self._whole(run, Completion(head, functions=chat.functions))

    async def completions(self) -> Response:
        body = cast("bytes", await request.get_data())
        catalog = self.catalog()
        chat = await self.offload(lambda: parse_completions_request(body, catalog))
        head = ResponseHead(id=f"cmpl-{uuid.uuid4().hex}", created=int(time.time()), model=chat.model)
        run = await self._opened(chat, body, head.id)
        if chat.stream:
            return await self._streamed(run, TextStream(head, chat.include_usage))
        return await self._whole(run, TextCompletion(head))

    async def responses(self) -> Response:
        body = cast("bytes", await request.get_data())
        catalog, stored, earlier = self.catalog(), self.stored, self.stored.earlier()
        may_store = self.config.store
        parsed = await self.offload(
            lambda: parse_responses_request(body, catalog, stored.items.recall, earlier, may_store=may_store)
        )
        if parsed.previous_id is not None:
            stored.responses.renew(parsed.previous_id, trio.current_time())
        head = ResponsesHead(f"resp_{uuid.uuid4().hex}", int(time.time()), parsed.echo, parsed.namespaces)
        run = await self._opened(parsed.chat, body, head.id)
        caller = exchange_of(request.scope).caller

        def keep(response: Mapping[str, Any]) -> None:
            if parsed.kept is not None:
                stored.responses.keep(response, parsed.kept, caller, trio.current_time())

        remember = _forget if parsed.kept is None else stored.items.remember
        if parsed.chat.stream:
            return await self._streamed(run, ResponsesStream(head, _now, remember, keep))
        whole = ResponsesObject(head, _now, remember)
        response = await self._whole(run, whole)
        keep(whole.result())
        return response

    async def messages(self) -> Response:
        body = cast("bytes", await request.get_data())
        catalog = self.catalog()
        chat = await self.offload(lambda: parse_messages_request(body, catalog))
        request_id = exchange_of(request.scope).id
        head = MessageHead(f"msg_{uuid.uuid4().hex}", chat.model, request_id, chat.show_thinking)
        run = await self._opened(chat, body, head.id)
        if chat.stream:
            return await self._streamed(run, MessageStream(head))
        return await self._whole(run, MessageObject(head))

    async def count_tokens(self) -> Response:
        raise NotFound(
            "Counting the tokens of a request is not supported yet",
            hint="The usage of an answer has the exact tokens of its request.",
            code="not_supported",
        )

    async def _opened(self, chat: TurnRequest, body: bytes, response_id: str) -> Run:
        """Admit the request and open its run, on the stack of the exchange."""
        exchange = exchange_of(request.scope)
        if exchange.key is not None:
            check_model(exchange.key, chat.model, self.catalog())
            chat = replace(chat, caller=exchange.key.name)
        chat = await self._admitted(chat)
        _log_request(exchange.log, chat, body)
        exchange.begin_turn(chat.model)
        trace = self._trace(chat, response_id, exchange)
        if trace is not None:
            chat = replace(chat, trace_context=trace.context)
        recording = self._recording(body)
        opening = self.runs.open(
            chat, exchange.log, exchange.arrived, recording, client=_client(), trace=trace, key=exchange.key
        )
        run = exchange.run = await exchange.stack.enter_async_context(opening)
        exchange.headers["x-claude-openai-run"] = run.id
        return run

    def _started_at(self) -> str:
        return datetime.fromtimestamp(self.started, UTC).isoformat().replace("+00:00", "Z")

    def _trace(self, chat: TurnRequest, response_id: str, exchange: Exchange) -> "RunTrace | None":
        """Begin the span of the request, if there are spans; the exchange ends it, after the run."""
        if self.tracing is None:
            return None
        parent = {name: ",".join(request.headers.getlist(name)) for name in ("traceparent", "tracestate")}
        trace = self.tracing.begin(
            chat, parent, route=exchange.route, response_id=response_id, arrived=exchange.arrived
        )

        def end() -> None:
            run = exchange.run
            record, first_token_s = (None, None) if run is None else (run.record, run.meter.first_token_s)
            trace.end(record, first_token_s, exchange.failure, exchange.status or 0)

        exchange.stack.callback(end)
        return trace

    def _recording(self, body: bytes) -> TurnRecording | None:
        return None if self.recorder is None else self.recorder.begin(request.path, body)

    async def _admitted(self, chat: TurnRequest) -> TurnRequest:
        ends = (_address(request.scope.get("client")), _address(request.scope.get("server")))
        # Entered before the run, so that the folder is closed after the run has ended.
        uid = request.scope["state"].get(PEER_UID)
        guard = replace(self.options_guard, key=exchange_of(request.scope).key)
        admitted = guard.admitted(chat, *ends, uid)
        return await exchange_of(request.scope).stack.enter_async_context(admitted)

    async def _streamed(self, run: Run, chunks: Frames) -> Response:
        first: Event | None = None
        with trio.move_on_after(self.config.hold_status_ms / 1000):
            first = await run.events.receive()
        if isinstance(first, TurnFailed):
            raise first.error
        if isinstance(first, TurnStarted):
            exchange_of(request.scope).headers["x-claude-openai-conversation"] = first.conversation
        self._warn_of_limits()
        interval_s = self.config.comment_interval_ms / 1000
        exchange_of(request.scope).stack.callback(_log_calls, exchange_of(request.scope).log, chunks)
        body = EventStreamBody(first, run, chunks, interval_s)
        return TrioResponse(body, headers=EVENT_STREAM)

    async def _whole(self, run: Run, completion: Completion | ResponsesObject | MessageObject) -> Response:
        while not completion.ended:
            event = await run.events.receive()
            if isinstance(event, TurnStarted):
                exchange_of(request.scope).headers["x-claude-openai-conversation"] = event.conversation
            completion.feed(event)
        self._warn_of_limits()
        return json_response(completion.result())

    def _warn_of_limits(self) -> None:
        windows = self.runs.ledger.header
        if windows:
            exchange_of(request.scope).headers[LIMIT_HEADER] = windows


def _address(end: Sequence[Any] | None) -> Address | None:
    """Read the address of one end of the connection from ASGI's scope. Return None if it is not TCP."""
    return (str(end[0]), int(end[1])) if end is not None and end[1] is not None else None


def _client() -> str:
    return client_name(request.headers.get("User-Agent", ""))


def _now() -> int:
    return int(time.time())


def _forget(item: Mapping[str, Any]) -> None:
    """Do nothing: with `store: false` the client will not refer to items."""


def _log_request(log: Log, chat: TurnRequest, body: bytes) -> None:
    log.debug(
        "openai.request",
        model=chat.model,
        stream=chat.stream,
        include_usage=chat.include_usage,
        bytes=len(body),
        user=_short(chat.user),
        prompt_cache_key=_short(chat.prompt_cache_key),
        metadata=chat.metadata,
    )
    log.debug(
        "openai.effective_request",
        claude_model=chat.claude_model,
        system_chars=len(chat.system),
        turns=len(chat.turns),
        prompt_chars=len(chat.prompt.text),
    )
    if log.enabled(Level.TRACE):
        log.trace("openai.request_body", body=body)


def _short(text: str | None) -> str | None:
    # The length is not bounded otherwise, and the log searches each value for secrets.
    return None if text is None else text[:LOGGED_CHARS]


def _log_calls(log: Log, chunks: Frames) -> None:
    if chunks.calls:
        log.debug("openai.stream_tool_calls", count=len(chunks.calls), names=chunks.calls)
