"""The Quart app: routes, guards, and error responses.

`_error_response` converts all errors, those of Quart included, to the error object of the client's API.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from quart import Quart, Response, request
from quart.routing import QuartRule
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from claude_openai.cassettes.recorder import Recorder
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
from claude_openai.logs.log import Log, traceback_of
from claude_openai.offload import Offload, in_thread
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.runs.metrics import Metrics
from claude_openai.runs.recent_errors import RecentErrors
from claude_openai.runs.registry import Runs
from claude_openai.shortages import described, shortage_hint
from claude_openai.state.access import StateAccess
from claude_openai.state.store import StateStore
from claude_openai.web.access import CONTROL_PREFIX, Guard, cors_headers, preflight_headers
from claude_openai.web.background import BackgroundResponses, add_background_routes
from claude_openai.web.claude_options_access import ClaudeOptionsGuard
from claude_openai.web.control import add_control_routes
from claude_openai.web.forgetting import Forgetting, add_forget_route
from claude_openai.web.http.exchange import Exchange, HttpConnection, exchange_of, route_of
from claude_openai.web.http.forwarded import TrustedProxies
from claude_openai.web.http.probes import ProbeCount
from claude_openai.web.json_response import json_response
from claude_openai.web.lasting import LastingTurns
from claude_openai.web.page import add_page_routes, is_of_page, opens_page
from claude_openai.web.page_access import PageAccess, page_access
from claude_openai.web.status import OPEN_PATHS, BackendStatus, add_operator_routes
from claude_openai.web.stored_responses import add_stored_routes, stored_responses
from claude_openai.web.usage import add_usage_routes
from claude_openai.web.views import Views

if TYPE_CHECKING:
    from claude_openai.runs.tracing import Tracing

__all__ = ["App", "build_app"]


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


def build_app(
    config: Config,
    runs: Runs,
    log: Log,
    status: BackendStatus = dict,
    catalog: Callable[[], ModelCatalog] | None = None,
    offload: Offload = in_thread,
    recorder: Recorder | None = None,
    tracing: "Tracing | None" = None,
    state: StateStore | None = None,
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
        state: also stores the responses outside of memory; None for memory only.
    """
    app = App("claude_openai", static_folder=None)
    app.exchange_log, app.metrics, app.probes = log, runs.metrics, ProbeCount(log)
    app.further_headers = {"x-claude-openai-replica": config.replica} if config.replica else {}
    app.proxies = TrustedProxies(config.trusted_proxies)
    app.is_stopping = lambda: runs.admission.stopping
    app.url_map.merge_slashes = False  # merging redirects, with an HTML body
    app.config["MAX_CONTENT_LENGTH"] = config.max_request_bytes
    state_access = None
    if state is not None and config.store:
        state_access = StateAccess(state, config.responses_kept_hours * 3600, lambda: runs.nursery, offload, log)
        status = partial(_status_with_store, status, state_access)
    stored = stored_responses(offload, state_access)
    lasting = LastingTurns(runs, config.hold_status_ms / 1000, config.comment_interval_ms / 1000, config.store)
    background = BackgroundResponses(runs, lasting, stored, config.max_background)
    views = Views(
        config,
        runs,
        int(time.time()),
        ClaudeOptionsGuard(config),
        catalog or config.catalog,
        stored,
        lasting,
        background,
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
    add_background_routes(app, background)
    app.add_url_rule("/v1/messages", "messages", views.messages, methods=["POST"])
    for path in ("/v1/messages/count_tokens", "/v1/responses/input_tokens"):
        app.add_url_rule(path, "count_tokens", views.count_tokens, methods=["POST"])
    access = page_access(config, runs.keys)
    add_operator_routes(app, config, runs, status, log)
    add_control_routes(app, config, runs, status, access, log)
    add_forget_route(app, config, Forgetting(stored, lasting.joined, background))
    add_usage_routes(app, config, runs.ledger)
    add_page_routes(app, config, access)
    _install_guard(app, Guard(config, runs.keys), access)
    app.register_error_handler(Exception, partial(_error_response, runs.errors))
    return app


def _status_with_store(status: BackendStatus, store: StateAccess) -> Mapping[str, Any]:
    return {**status(), "store": {"problem": store.problem}}


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
            session = access.session_of(request.headers)
            bearer = request.headers.get("Authorization")
            exchange.key = guard.check_control_key(bearer) if session is None else session.key
            guard.check_path(request.path, exchange.key)
        elif request.path not in OPEN_PATHS and not is_of_page(request.path):
            caller = guard.check_key(request.headers.get("Authorization"), request.headers.get("x-api-key"))
            if caller is not None:
                exchange.caller, exchange.key = caller
            guard.check_path(request.path, exchange.key)
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
