"""The Quart app: routes, views of the APIs, and error responses.

A view parses the request, opens a run on the exchange's stack, and turns the run's events into a response.
`_error_response` converts all errors, those of Quart included, to the error object of the client's API.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from quart import Quart, Response, request
from quart.routing import QuartRule
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException

from claude_openai.cassettes.recorder import Recorder, TurnRecording
from claude_openai.config import Config
from claude_openai.errors import (
    UNAVAILABLE_RETRY_AFTER_S,
    ApiError,
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RequestTooLarge,
)
from claude_openai.logs.log import Level, Log, traceback_of
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
from claude_openai.runs.metrics import Metrics
from claude_openai.runs.recent_errors import RecentErrors
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run
from claude_openai.shortages import described, shortage_hint
from claude_openai.web.access import CONTROL_PREFIX, Guard, cors_headers, preflight_headers
from claude_openai.web.claude_options_access import ClaudeOptionsGuard
from claude_openai.web.client_name import client_name
from claude_openai.web.control import add_control_routes
from claude_openai.web.http.event_stream import EventStreamBody, Frames
from claude_openai.web.http.exchange import Exchange, HttpConnection, exchange_of, route_of
from claude_openai.web.http.forwarded import TrustedProxies
from claude_openai.web.http.peer import PEER_UID, Address
from claude_openai.web.http.probes import ProbeCount
from claude_openai.web.json_response import EVENT_STREAM, json_response
from claude_openai.web.page import add_page_routes, is_of_page, opens_page
from claude_openai.web.page_access import PageAccess, page_access
from claude_openai.web.status import OPEN_PATHS, BackendStatus, add_operator_routes
from claude_openai.web.stored_responses import StoredResponses, add_stored_routes, caller_key
from claude_openai.web.usage import LIMIT_HEADER, add_usage_routes

if TYPE_CHECKING:
    from claude_openai.runs.tracing import RunTrace, Tracing

__all__ = ["App", "build_app"]

LOGGED_CHARS = 256


class _Rule(QuartRule):
    """A route whose pattern is parsed once in a process, also if tests start many servers.

    It is without the functions that build its URL: nothing uses them, and they take 1 ms a route to compile.
    """

    def compile(self) -> None:
        if self.rule not in _PARSED:
            super().compile()
            _PARSED[self.rule] = {name: vars(self)[name] for name in ("_parts", "_converters", "arguments")}
        vars(self).update(_PARSED[self.rule])

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _no_url


_PARSED: Final[dict[str, dict[str, Any]]] = {}


def _no_url(*_args: object, **_values: object) -> tuple[str, str]:
    raise NotImplementedError("this server builds no URLs")


class App(QuartTrio):
    """Quart with `HttpConnection`. The log of each exchange is bound from `exchange_log`; `metrics` counts them.

    Attributes:
        probes: counts the requests of monitors; its owner calls `report` when the server stops.
        further_headers: are added to every response.
        proxies: are believed about their clients' addresses.
        is_stopping: whether no connection is to be kept for another request.
    """

    asgi_http_class = HttpConnection
    url_rule_class = _Rule  # type: ignore[assignment] # as in Quart itself
    exchange_log: Log
    metrics: Metrics
    probes: ProbeCount
    further_headers: Mapping[str, str]
    proxies: TrustedProxies
    is_stopping: Callable[[], bool]


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
        models = self.catalog().model_list(self.started)
        is_anthropic = exchange_of(request.scope).is_anthropic
        return json_response(model_list(models, self._started_at()) if is_anthropic else models)

    async def model(self, model: str) -> Response:
        # Any model that a completion accepts, listed or not.
        found = self.catalog().model_object(model, self.started)
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
        caller = caller_key()

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
        chat = await self._admitted(chat)
        _log_request(exchange.log, chat, body)
        exchange.begin_turn(chat.model)
        trace = self._trace(chat, response_id, exchange)
        if trace is not None:
            chat = replace(chat, trace_context=trace.context)
        recording = self._recording(body)
        opening = self.runs.open(chat, exchange.log, exchange.arrived, recording, client=_client(), trace=trace)
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
        admitted = self.options_guard.admitted(chat, *ends, uid)
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


def build_app(
    config: Config,
    runs: Runs,
    log: Log,
    status: BackendStatus = dict,
    catalog: Callable[[], ModelCatalog] | None = None,
    offload: Offload = in_thread,
    recorder: Recorder | None = None,
    tracing: "Tracing | None" = None,
) -> App:
    """Compose the app.

    Args:
        config: the settings.
        runs: runs the completions.
        log: for each exchange it is bound to the request id.
        status: returns further fields of `/health`.
        catalog: returns the current models; by default those of `config`.
        offload: parses the bodies of requests.
        recorder: records the turns; None for no recording.
        tracing: makes the spans of the runs; None for no spans.
    """
    app = App("claude_openai", static_folder=None)
    app.exchange_log, app.metrics, app.probes = log, runs.metrics, ProbeCount(log)
    app.further_headers = {"x-claude-openai-replica": config.replica} if config.replica else {}
    app.proxies = TrustedProxies(config.trusted_proxies)
    app.is_stopping = lambda: runs.admission.stopping
    app.url_map.merge_slashes = False  # merging redirects, with an HTML body
    app.config["MAX_CONTENT_LENGTH"] = config.max_request_bytes
    stored = StoredResponses(offload)
    views = Views(
        config,
        runs,
        int(time.time()),
        ClaudeOptionsGuard(config),
        catalog or config.catalog,
        stored,
        offload,
        recorder=recorder,
        tracing=tracing,
    )
    app.add_url_rule("/v1/models", "models", views.models, methods=["GET"])
    # Model names may contain slashes, encoded or not.
    app.add_url_rule("/v1/models/<path:model>", "model", views.model, methods=["GET"])
    app.add_url_rule("/v1/chat/completions", "chat", views.chat_completions, methods=["POST"])
    app.add_url_rule("/v1/completions", "completions", views.completions, methods=["POST"])
    app.add_url_rule("/v1/responses", "responses", views.responses, methods=["POST"])
    add_stored_routes(app, stored)
    app.add_url_rule("/v1/messages", "messages", views.messages, methods=["POST"])
    app.add_url_rule("/v1/messages/count_tokens", "count_tokens", views.count_tokens, methods=["POST"])
    access = page_access(config)
    add_operator_routes(app, config, runs, status, log)
    add_control_routes(app, config, runs, status, access, log)
    add_usage_routes(app, config, runs.ledger)
    add_page_routes(app, config, access)
    _install_guard(app, Guard(config), access)
    app.register_error_handler(Exception, partial(_error_response, runs.errors))
    return app


def _install_guard(app: Quart, guard: Guard, access: PageAccess) -> None:
    @app.before_request
    async def check() -> Response | None:
        exchange = exchange_of(request.scope)
        if request.url_rule is not None:
            exchange.route = route_of(request.url_rule.rule)
        server: Any = request.scope.get("server") or ("",)
        guard.check_host(request.headers.get("Host"), str(server[0]))
        is_visit = opens_page(request.method, request.path, request.headers)
        origin = None if is_visit else guard.check_origin(request.headers)
        if origin is not None:
            exchange.headers |= cors_headers(origin)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                requested = request.headers.get("Access-Control-Request-Headers", "")
                return Response(status=204, headers=preflight_headers(requested))
        if request.path.startswith(CONTROL_PREFIX):
            if access.session_of(request.headers) is None:
                guard.check_control_key(request.headers.get("Authorization"))
        elif request.path not in OPEN_PATHS and not is_of_page(request.path):
            guard.check_key(request.headers.get("Authorization"), request.headers.get("x-api-key"))
        if request.method == "POST" and request.routing_exception is None:
            guard.check_body_type(request.headers)
        return None


async def _error_response(errors: RecentErrors, error: Exception) -> Response:
    exchange = exchange_of(request.scope)
    known = exchange.error = _as_api_error(error, exchange)
    if exchange.run is None and exchange.route.startswith("/v1/"):
        errors.note(known, time.time())
    headers: Mapping[str, str] = known.headers()
    exchange.log.debug("http.error", status=known.status, message=known.message, code=known.code, param=known.param)
    response = json_response(exchange.error_body(known), known.status)
    response.headers.extend(headers)
    if isinstance(error, HTTPException) and error.code == 405:
        response.headers["allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
    return response


def _as_api_error(error: Exception, exchange: Exchange) -> ApiError:
    if isinstance(error, ApiError):
        return error
    code = error.code if isinstance(error, HTTPException) else None
    where = f"{request.method} {request.path}"
    if code == 404:
        return NotFound(
            f"Invalid URL ({where})",
            hint="The APIs are at /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages and /v1/models.",
        )
    if code == 405:
        return MethodNotAllowed(f"{where} is not allowed", hint="The Allow header lists the allowed methods.")
    if code == 413:
        limit = request.max_content_length
        return RequestTooLarge(f"The request body is larger than {limit} bytes (--max-request-bytes).")
    if code is not None and code < 500:
        return BadRequest(f"Invalid request: {error}")
    hint = shortage_hint(error)
    if hint:
        return Overloaded(
            f"The server is out of a resource: {described(error)}",
            hint=f"On the server's machine: {hint}.",
            code="out_of_resources",
            retry_after_s=UNAVAILABLE_RETRY_AFTER_S,
        )
    exchange.log.error("http.crashed", error=error, traceback=traceback_of(error))
    return InternalError("The server failed because of a bug", hint=f"Its log has the details under {exchange.id}.")


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
