"""The views of the APIs.

A view parses the request, opens a run on the exchange's stack, and turns the run's events into a response.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
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
from claude_openai.protocol.openai.responses.request import parse_chat_body
from claude_openai.protocol.openai.responses.stream import ResponsesObject, ResponsesStream
from claude_openai.protocol.turn.events import Event, TurnFailed, TurnStarted
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.runs.lasting import Answer, Settle
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run
from claude_openai.web.background import BackgroundResponses
from claude_openai.web.claude_options_access import ClaudeOptionsGuard
from claude_openai.web.client_name import client_name
from claude_openai.web.http.event_stream import EventStreamBody, Frames
from claude_openai.web.http.exchange import Exchange, exchange_of
from claude_openai.web.http.peer import PEER_UID, Address
from claude_openai.web.joining import Joinable, joinable_of
from claude_openai.web.json_response import EVENT_STREAM, json_response
from claude_openai.web.key_limits import allows_model, check_model
from claude_openai.web.lasting import LastingTurns, Opening, StreamedAnswer, Whole, WholeAnswer
from claude_openai.web.stored_responses import Keeping, StoredResponses
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
    lasting: LastingTurns
    background: BackgroundResponses
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
        may_search = self._may_search()
        chat = await self.offload(lambda: parse_chat_body(body, catalog, may_search=may_search))
        head = ResponseHead(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=chat.model)
        if chat.stream:
            chunks = ChunkStream(head, chat.include_usage, functions=chat.functions)
            return await self._streamed(chat, body, head.id, chunks)
        return await self._whole(chat, body, head.id, Completion(head, functions=chat.functions))

    async def completions(self) -> Response:
        body = cast("bytes", await request.get_data())
        catalog = self.catalog()
        chat = await self.offload(lambda: parse_completions_request(body, catalog))
        head = ResponseHead(id=f"cmpl-{uuid.uuid4().hex}", created=int(time.time()), model=chat.model)
        if chat.stream:
            return await self._streamed(chat, body, head.id, TextStream(head, chat.include_usage))
        return await self._whole(chat, body, head.id, TextCompletion(head))

    async def responses(self) -> Response:
        body = cast("bytes", await request.get_data())
        parsed = await self.stored.parse(
            body, self.catalog(), may_store=self.config.store, may_search=self._may_search()
        )
        response_id = f"resp_{uuid.uuid4().hex}"
        head = ResponsesHead(response_id, int(time.time()), parsed.echo, parsed.namespaces, parsed.with_sources)
        keeping = Keeping(self.stored, parsed.kept, exchange_of(request.scope).caller)
        if parsed.background:
            encoder = ResponsesStream(head, _now, keeping.remember, keeping.keep)
            joinable = await self._joinable(parsed.chat, body)
            asked = joinable if joinable is not None and joinable.key else None
            opening = partial(self._opened, parsed.chat, body, head.id)
            response = await self.background.create(asked, opening, encoder, keeping, stream=parsed.chat.stream)
            self._warn_of_limits()
            return response
        if parsed.chat.stream:
            stream = ResponsesStream(head, _now, keeping.remember, keeping.keep)
            return await self._streamed(parsed.chat, body, head.id, stream, keeping.settle)
        return await self._whole(parsed.chat, body, head.id, ResponsesObject(head, _now, keeping.remember), keeping)

    async def messages(self) -> Response:
        body = cast("bytes", await request.get_data())
        catalog = self.catalog()
        chat = await self.offload(lambda: parse_messages_request(body, catalog))
        request_id = exchange_of(request.scope).id
        head = MessageHead(f"msg_{uuid.uuid4().hex}", chat.model, request_id, chat.show_thinking)
        if chat.stream:
            return await self._streamed(chat, body, head.id, MessageStream(head))
        return await self._whole(chat, body, head.id, MessageObject(head))

    async def count_tokens(self) -> Response:
        raise NotFound(
            "Counting the tokens of a request is not supported: Claude Code counts only parts of one, and not exactly",
            hint="The usage of an answer has the exact tokens of its request.",
            code="not_supported",
        )

    async def _joinable(self, chat: TurnRequest, body: bytes) -> Joinable | None:
        """Return the request as other requests may join its turn; None if none may."""
        exchange = exchange_of(request.scope)
        exchange.begin_turn(chat.model)
        read = joinable_of(request.headers, request.path, body, exchange.caller, stream=chat.stream)
        if read is None:
            return None
        async with self._admitted(chat):  # also a client that joins must be allowed what the turn does
            return await self.offload(read)

    async def _opened(self, chat: TurnRequest, body: bytes, response_id: str, stack: AsyncExitStack) -> Run:
        """Admit the request and open its run, on a stack."""
        exchange = exchange_of(request.scope)
        # Entered before the run, so that the folder is closed after the run has ended.
        chat = await stack.enter_async_context(self._admitted(chat))
        _log_request(exchange.log, chat, body)
        trace = self._trace(chat, response_id, exchange, stack)
        if trace is not None:
            chat = replace(chat, trace_context=trace.context)
        recording = self._recording(body)
        opening = self.runs.open(
            chat, exchange.log, exchange.arrived, recording, client=_client(), trace=trace, key=exchange.key
        )
        run = exchange.run = await stack.enter_async_context(opening)
        exchange.headers["x-claude-openai-run"] = run.id
        return run

    def _started_at(self) -> str:
        return datetime.fromtimestamp(self.started, UTC).isoformat().replace("+00:00", "Z")

    def _trace(
        self, chat: TurnRequest, response_id: str, exchange: Exchange, stack: AsyncExitStack
    ) -> "RunTrace | None":
        """Begin the span of the request, if there are spans; the stack ends it, after the run."""
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

        stack.callback(end)
        return trace

    def _may_search(self) -> bool:
        key = exchange_of(request.scope).key
        return self.config.web_search and (key is None or key.web_search)

    def _recording(self, body: bytes) -> TurnRecording | None:
        return None if self.recorder is None else self.recorder.begin(request.path, body)

    def _admitted(self, chat: TurnRequest) -> AbstractAsyncContextManager[TurnRequest]:
        key = exchange_of(request.scope).key
        if key is not None:
            check_model(key, chat.model, self.catalog())
            chat = replace(chat, caller=key.name)
        ends = (_address(request.scope.get("client")), _address(request.scope.get("server")))
        uid = request.scope["state"].get(PEER_UID)
        return replace(self.options_guard, key=key).admitted(chat, *ends, uid)

    async def _streamed(
        self, chat: TurnRequest, body: bytes, response_id: str, chunks: Frames, settle: Settle | None = None
    ) -> Response:
        joinable = await self._joinable(chat, body)
        opening = partial(self._opened, chat, body, response_id)
        if joinable is not None:
            return await self._joined(joinable, opening, StreamedAnswer(chunks), settle, stream=True)
        run = await opening(exchange_of(request.scope).stack)
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
        return TrioResponse(EventStreamBody(first, run, chunks, interval_s, settle), headers=EVENT_STREAM)

    async def _whole(
        self, chat: TurnRequest, body: bytes, response_id: str, completion: Whole, keeping: Keeping | None = None
    ) -> Response:
        joinable = await self._joinable(chat, body)
        opening = partial(self._opened, chat, body, response_id)
        if joinable is not None:
            note, settle = (None, None) if keeping is None else (keeping.keep, keeping.settle)
            return await self._joined(joinable, opening, WholeAnswer(completion, note), settle, stream=False)
        run = await opening(exchange_of(request.scope).stack)
        while not completion.ended:
            event = await run.events.receive()
            if isinstance(event, TurnStarted):
                exchange_of(request.scope).headers["x-claude-openai-conversation"] = event.conversation
            completion.feed(event)
        self._warn_of_limits()
        result = completion.result()
        if keeping is not None:
            keeping.keep(result)
            await keeping.settle()
        return json_response(result)

    async def _joined(
        self, asked: Joinable, opening: Opening, answer: Answer, settle: Settle | None, *, stream: bool
    ) -> Response:
        response = await self.lasting.answer(asked, opening, answer, settle, stream=stream)
        self._warn_of_limits()
        return response

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
