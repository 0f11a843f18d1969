"""The OpenAPI 3.1 document of `GET /openapi.json`: paths and statuses.

A test compares the paths with those of the app. The schemas are in `openapi_schemas`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from claude_openai._version import __version__
from claude_openai.protocol.openai.responses.input_items import MAX_LISTED, ORDERS
from claude_openai.runs.capture.records import RUN_ID
from claude_openai.web.access import CONTROL_PREFIX
from claude_openai.web.joining import KEY_HEADER, KEY_PATTERN
from claude_openai.web.openapi_schemas import NAME, STRING, JsonObject, ref, schemas

__all__ = ["openapi_document"]

# Statuses of the errors of all requests, and further ones of requests that run a turn.
_ANY_ERRORS: Final = (400, 403, 404, 405, 500)
_TURN_ERRORS: Final = (409, 410, 413, 415, 429, 502, 503, 504)
_KEY_ERRORS: Final = (401,)

_REASONS: Final[Mapping[int, str]] = {
    400: "The request is invalid; `param` names the field.",
    401: "The key is missing or wrong.",
    403: "The host, origin, folder, permission mode or tool is not allowed, or Claude rejected the login.",
    404: "The path, model, response or run does not exist.",
    405: "The method is not allowed for this path.",
    409: "The idempotency key is that of another request; or the run to cancel has already ended.",
    410: "The run was cancelled on the server.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    429: "The queue is full, or Claude's rate limit or quota is reached.",
    500: "Internal error: a bug in the server.",
    502: "Claude Code failed.",
    503: "The server is stopping, Claude is overloaded, or Claude Code was not found.",
    504: "The turn timed out.",
}


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        answer: the schemas of a 200 response by content type, None for a content type without a schema.
        errors: statuses in addition to those of all requests.
        body: the schema of the request body.
        error: name of the schema of its errors.
        open: the operation needs no key.
        more_parameters: parameters outside of its path.
        more: further responses, by status.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Mapping[str, JsonObject | None]
    errors: tuple[int, ...] = ()
    body: JsonObject | None = None
    error: str = "Error"
    open: bool = False
    more_parameters: tuple[JsonObject, ...] = ()
    more: Mapping[str, JsonObject] = field(default_factory=dict)


def _json(name: str) -> dict[str, JsonObject]:
    return {"application/json": ref(name)}


# Without a schema: tools disagree whether in OpenAPI 3.1 it describes the whole stream or one event.
_EVENTS: Final[Mapping[str, JsonObject | None]] = {"text/event-stream": None}
_METRICS: Final = {"text/plain": STRING, "application/openmetrics-text": STRING}
_IN_PATH: Final = {
    "conversation": NAME,
    "model": NAME,
    "name": NAME,
    "response_id": NAME,
    "run_id": {"type": "string", "pattern": f"^{RUN_ID.pattern}$"},
}
_RUN_QUERY: Final = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}
_ITEMS_QUERY: Final[tuple[JsonObject, ...]] = (
    {"name": "order", "in": "query", "schema": {"enum": list(ORDERS)}},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LISTED}},
    {"name": "after", "in": "query", "schema": STRING},
    {"name": "before", "in": "query", "schema": STRING},
)
_STREAM_QUERY: Final[tuple[JsonObject, ...]] = (
    {"name": "stream", "in": "query", "schema": {"enum": ["true", "false"]}},
    {"name": "starting_after", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999}},
)
_FOLLOW_QUERY: Final = {"name": "follow", "in": "query", "schema": {"enum": ["0", "1"]}}
_KEY_HEADER: Final[tuple[JsonObject, ...]] = (
    {"name": KEY_HEADER, "in": "header", "schema": {"type": "string", "pattern": KEY_PATTERN}},
)
_HTML: Final = {"text/html": STRING}
_FILES: Final = {"text/html": STRING, "text/css": STRING, "text/javascript": STRING, "image/svg+xml": STRING}
_REDIRECT: Final = {"302": {"description": "The page is at `Location`."}}
_NOT_COUNTED: Final = "Count the tokens of a request. Not supported: the answer is always an error."
_NOT_READY: Final = {
    "503": {
        "description": "Not ready; `reasons` lists the reasons.",
        "content": {"application/json": {"schema": ref("Ready")}},
    }
}

_IN_TWO_FORMS: Final = " With an `anthropic-version` header the answer has the form of Claude's API."
_USAGE: Final = "Tokens and dollars of today and of the last 7 days, and the usage windows of the account."

_OPERATIONS: Final = (
    Operation(
        "post",
        "/v1/chat/completions",
        "createChatCompletion",
        "Create a chat completion, as one object or as server-sent events.",
        {**_json("ChatCompletion"), **_EVENTS},
        _TURN_ERRORS,
        ref("ChatCompletionRequest"),
        more_parameters=_KEY_HEADER,
    ),
    Operation(
        "post",
        "/v1/completions",
        "createCompletion",
        "Create a completion of a text, as one object or as server-sent events.",
        {**_json("TextCompletion"), **_EVENTS},
        _TURN_ERRORS,
        ref("CompletionRequest"),
        more_parameters=_KEY_HEADER,
    ),
    Operation(
        "post",
        "/v1/responses",
        "createResponse",
        "Create a response, as one object or as server-sent events. It is stored unless `store` is false.",
        {**_json("Response"), **_EVENTS},
        _TURN_ERRORS,
        ref("ResponseRequest"),
        more_parameters=_KEY_HEADER,
    ),
    Operation(
        "get",
        "/v1/responses/{response_id}",
        "retrieveResponse",
        "Get a stored response; with `stream=true` the events of a response in the background.",
        {**_json("Response"), **_EVENTS},
        more_parameters=_STREAM_QUERY,
    ),
    Operation(
        "post",
        "/v1/responses/{response_id}/cancel",
        "cancelResponse",
        "Cancel a response in the background. A response that has ended is returned as it is.",
        _json("Response"),
        (413, 415),
        {"type": "object"},
    ),
    Operation(
        "delete", "/v1/responses/{response_id}", "deleteResponse", "Delete a stored response.", _json("DeletedResponse")
    ),
    Operation(
        "get",
        "/v1/responses/{response_id}/input_items",
        "listInputItems",
        "List the items from which a stored response was made, the last one first.",
        _json("InputItems"),
        more_parameters=_ITEMS_QUERY,
    ),
    Operation(
        "post",
        "/v1/responses/input_tokens",
        "countInputTokens",
        _NOT_COUNTED,
        _json("InputTokens"),
        (413, 415),
        {"type": "object"},
    ),
    Operation(
        "post",
        "/v1/messages",
        "createMessage",
        "Create a message of Claude's API, as one object or as server-sent events.",
        {**_json("AnthropicMessage"), **_EVENTS},
        _TURN_ERRORS,
        ref("MessagesRequest"),
        error="AnthropicError",
        more_parameters=_KEY_HEADER,
    ),
    Operation(
        "post",
        "/v1/messages/count_tokens",
        "countMessageTokens",
        _NOT_COUNTED,
        _json("InputTokens"),
        (413, 415),
        {"type": "object"},
        error="AnthropicError",
    ),
    Operation("get", "/v1/models", "listModels", f"List the models.{_IN_TWO_FORMS}", _json("Models")),
    Operation(
        "get", "/v1/models/{model}", "retrieveModel", f"Get one model by its name.{_IN_TWO_FORMS}", _json("Model")
    ),
    Operation("get", "/health", "health", "Liveness check.", _json("Health"), open=True),
    Operation("get", "/ready", "ready", "Readiness check.", _json("Ready"), open=True, more=_NOT_READY),
    Operation(
        "get", "/version", "version", "Versions of the server, its backend and Python.", _json("Version"), open=True
    ),
    Operation(
        "get", "/openapi.json", "openapi", "This OpenAPI document.", {"application/json": {"type": "object"}}, open=True
    ),
    Operation("get", "/v1/usage", "usage", _USAGE, _json("Usage")),
    Operation("get", "/metrics", "metrics", "Metrics for Prometheus.", _METRICS),
)

_CONTROL: Final = (
    Operation("get", "/control/status", "countRuns", "Count the runs by state.", _json("RunCounts")),
    Operation("get", "/control/usage", "controlUsage", _USAGE, _json("Usage")),
    Operation(
        "get", "/control/runs", "listRuns", "List the latest runs.", _json("Runs"), more_parameters=(_RUN_QUERY,)
    ),
    Operation("get", "/control/runs/{run_id}", "retrieveRun", "Get one run.", _json("Run")),
    Operation(
        "get",
        "/control/runs/{run_id}/output",
        "runOutput",
        "Output of a run as JSON lines; `follow=1` streams it until the run ends.",
        {"application/x-ndjson": STRING},
        more_parameters=(_FOLLOW_QUERY,),
    ),
    Operation(
        "post",
        "/control/runs/{run_id}/cancel",
        "cancelRun",
        "Cancel a run. Its client gets an error.",
        _json("Run"),
        (409, 413, 415),
        {"type": "object"},
    ),
    Operation(
        "get",
        "/control/watch",
        "watch",
        "All that the server does, as server-sent events: `snapshot`, then `update` with what has changed.",
        _EVENTS,
    ),
    Operation(
        "post",
        "/control/conversations/{conversation}/close",
        "closeConversation",
        "End a conversation that waits for its next request.",
        _json("ClosedConversation"),
        (413, 415),
        {"type": "object"},
    ),
    Operation(
        "post",
        "/control/forget",
        "forget",
        "Forget stored responses and kept answers, of all clients.",
        _json("Forgotten"),
        (400, 413, 415, 503),
        {"type": "object"},
    ),
)

_PAGE: Final = (
    Operation("get", "/", "root", "Lead to the page.", {}, open=True, more=_REDIRECT),
    Operation("get", "/dashboard", "page", "The page for a browser.", _HTML, open=True),
    Operation("get", "/dashboard/{name}", "pageFile", "A file of the page.", _FILES, open=True),
    Operation(
        "post",
        "/dashboard/login",
        "logInPage",
        "Exchange a key or a ticket for the cookie and the token of the page.",
        _json("PageLogin"),
        (401, 413, 415, 429),
        ref("PageCredentials"),
        open=True,
    ),
    Operation(
        "post",
        "/control/logout",
        "logOutPage",
        "End the session of the page that asks.",
        {"application/json": {"type": "object"}},
        (413, 415),
        {"type": "object"},
    ),
    Operation(
        "post",
        "/control/tickets",
        "ticketForPage",
        "Return a ticket for one login of the page.",
        _json("PageTicket"),
        (413, 415),
        {"type": "object"},
    ),
)


def openapi_document(*, has_key: bool, has_control: bool) -> JsonObject:
    """Return the OpenAPI document.

    Args:
        has_key: whether the server has a key.
        has_control: whether it has the control routes, which always need a key.
    """
    paths: JsonObject = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, has_key and not operation.open)
    for operation in (*_CONTROL, *_PAGE) if has_control else ():
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, needs_key=not operation.open)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "claude-openai",
            "version": __version__,
            "description": "OpenAI's APIs and Claude's Messages API in front of Claude Code.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "xApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _described(operation: Operation, needs_key: bool) -> JsonObject:
    errors = sorted({*_ANY_ERRORS, *operation.errors, *(_KEY_ERRORS if needs_key else ())})
    content = {kind: {} if schema is None else {"schema": schema} for kind, schema in operation.answer.items()}
    success = {"200": {"description": "Success.", "content": content}} if content else {}
    in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _IN_PATH[name]} for name in in_path]
    body = operation.body
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": _security(operation) if needs_key else [],
        "parameters": [*parameters, *operation.more_parameters],
        **({} if body is None else {"requestBody": {"required": True, "content": _content(body)}}),
        "responses": {
            **success,
            **{str(s): {"description": _REASONS[s], "content": _content(ref(operation.error))} for s in errors},
            **operation.more,
        },
    }


def _security(operation: Operation) -> list[JsonObject]:
    ways: list[JsonObject] = [{"key": []}]
    return ways if operation.path.startswith(CONTROL_PREFIX) else [*ways, {"xApiKey": []}]


def _content(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}
