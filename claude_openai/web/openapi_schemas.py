"""The schemas of the OpenAPI document: bodies of requests, responses and errors.

The fields of a request come from the tables that check them. Responses are described as far as a client needs to
distinguish them; OpenAI's own schemas are complete. A schema here may be weaker than the server's checks, but not
stricter.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, get_args

from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.completions.fields import COMPLETIONS_FIELDS
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.turn.claude_options import PERMISSION_MODES, ReasoningEffort, ToolMode
from claude_openai.protocol.wire.claude_options import MAX_ADD_DIRS
from claude_openai.protocol.wire.field_types import Field, Use

__all__ = ["NAME", "STRING", "JsonObject", "ref", "schemas"]

JsonObject: TypeAlias = dict[str, Any]


def _object(required: Iterable[str] = (), **properties: Any) -> JsonObject:
    return {"type": "object", "required": list(required), "properties": properties}


def _all_of(**properties: Any) -> JsonObject:
    """Return the schema of an object whose properties are all required."""
    return _object(properties, **properties)


def ref(name: str) -> JsonObject:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(item: str) -> JsonObject:
    return _all_of(object={"const": "list"}, data={"type": "array", "items": ref(item)})


STRING: Final[JsonObject] = {"type": "string"}
NAME: Final[JsonObject] = {"type": "string", "minLength": 1}
_INTEGER: Final[JsonObject] = {"type": "integer"}
_MAYBE_STRING: Final[JsonObject] = {"type": ["string", "null"]}
_MAYBE_NUMBER: Final[JsonObject] = {"type": ["number", "null"]}
_MAYBE_OBJECT: Final[JsonObject] = {"type": ["object", "null"]}


_MODALITIES: Final[JsonObject] = {"type": "array", "items": STRING}
_MODEL: Final = _object(
    ("id", "object", "created", "owned_by"),
    id=STRING,
    object={"const": "model"},
    created=_INTEGER,
    owned_by=STRING,
    context_length=_INTEGER,
    max_output_tokens=_INTEGER,
    input_modalities=_MODALITIES,
    output_modalities=_MODALITIES,
    reasoning_efforts={"type": "array", "items": STRING},
    fast_mode={"type": "boolean"},
)


def _request(table: Mapping[str, Field], needed: str, special: Mapping[str, Any]) -> JsonObject:
    """Return the schema of a request body. A field that is not needed may be null, which means the same as absent."""
    properties: JsonObject = {}
    for name, entry in table.items():
        schema = {**entry.check.schema, **special.get(name, {}), **(NAME if name == "model" else {})}
        refused = schema == {"not": {}}
        if name not in ("model", needed):
            schema = {"type": "null"} if refused else {"anyOf": [schema, {"enum": [*entry.unset, None]}]}
        note = {Use.HONOURED: "", Use.IGNORED: "Accepted, without effect.", Use.REFUSED: "Not supported."}[entry.use]
        properties[name] = schema | ({"description": note} if note else {})
    return {**_object(("model", needed), **properties), "additionalProperties": True}


def schemas() -> JsonObject:
    """Return all schemas of the document by name."""
    claude = {"$ref": "#/components/schemas/Claude"}
    effort = {"enum": [*get_args(ReasoningEffort), None]}
    return {
        "Error": {
            **_all_of(
                error={
                    **_all_of(message=STRING, type=STRING, param=_MAYBE_STRING, code=_MAYBE_STRING),
                    "additionalProperties": False,
                }
            ),
            "additionalProperties": False,
        },
        "Claude": {
            **_object(
                workingDirectory={"type": ["string", "null"], "pattern": "^/"},
                addDirs={
                    "type": ["array", "null"],
                    "items": {"type": "string", "pattern": "^/"},
                    "maxItems": MAX_ADD_DIRS,
                },
                toolMode={"enum": [*get_args(ToolMode), None]},
                permissionMode={"enum": [*PERMISSION_MODES, None]},
                effort=effort,
                fastMode={"type": ["boolean", "null"]},
                resetSession={"type": ["boolean", "null"]},
            ),
            "additionalProperties": False,
        },
        "Message": _object(
            ("role",),
            role={"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
            content={"type": ["string", "array", "null"], "items": {"type": "object"}},
        ),
        "ChatCompletionRequest": {
            **_request(
                FIELDS,
                "messages",
                {
                    "messages": {"items": ref("Message")},
                    "claude": claude,
                    "web_search_options": {"description": "A 400 unless the server has --web-search."},
                },
            ),
            "required": ["model"],
            # A body of the Responses API is accepted too.
            "anyOf": [{"required": ["messages"]}, {"required": ["input"]}],
        },
        "ChatCompletion": _completion("chat.completion"),
        "CompletionRequest": _request(COMPLETIONS_FIELDS, "prompt", {"claude": claude}),
        "TextCompletion": _completion("text_completion"),
        "ResponseRequest": _request(RESPONSES_FIELDS, "input", {"claude": claude}),
        "Response": _all_of(
            id=STRING,
            object={"const": "response"},
            created_at=_INTEGER,
            status=STRING,
            model=STRING,
            output={"type": "array", "items": {"type": "object"}},
            usage=_MAYBE_OBJECT,
        ),
        "DeletedResponse": _all_of(id=STRING, object={"const": "response"}, deleted={"const": True}),
        "InputItems": _all_of(
            object={"const": "list"},
            data={"type": "array", "items": _object(("id", "type"), id=STRING, type=STRING)},
            first_id=_MAYBE_STRING,
            last_id=_MAYBE_STRING,
            has_more={"type": "boolean"},
        ),
        **_messages_schemas(claude),
        "Model": _MODEL,
        "Models": _list_of("Model"),
        "Health": _object(
            ("status",),
            status={"const": "ok"},
            claude={"type": "object"},
            confined={"type": "boolean"},
            confined_reason=STRING,
        ),
        "Ready": _all_of(
            ready={"type": "boolean"},
            reasons={"type": "array", "items": _all_of(reason=STRING, message=STRING)},
            warnings={"type": "array", "items": _all_of(reason=STRING, message=STRING)},
            slots=_all_of(total=_INTEGER, free=_INTEGER, queued=_INTEGER),
        ),
        "Version": _all_of(
            name={"const": "claude-openai"},
            version=STRING,
            backend=STRING,
            claude_agent_sdk=STRING,
            python=STRING,
        ),
        "Run": _all_of(
            id=STRING,
            status={"enum": ["queued", "running", "parked", "completed", "failed", "cancelled"]},
            backend=STRING,
            model=STRING,
            key=_MAYBE_STRING,
            conversation=_MAYBE_STRING,
            started_at=STRING,
            ended_at=_MAYBE_STRING,
            waited_ms={"type": ["integer", "null"]},
            duration_ms={"type": ["integer", "null"]},
            usage=_MAYBE_OBJECT,
            cost_usd=_MAYBE_NUMBER,
            estimated_usd=_MAYBE_NUMBER,
            error=_MAYBE_OBJECT,
        ),
        "Runs": _list_of("Run"),
        **_usage_schemas(),
        "RunCounts": _all_of(running=_INTEGER, queued=_INTEGER, parked=_INTEGER),
        "PageCredentials": {"type": "object", "properties": {"key": STRING, "ticket": STRING}, "maxProperties": 1},
        "PageLogin": {
            "type": "object",
            "properties": {"token": STRING, "login": {"enum": ["key", "ticket"]}},
            "minProperties": 1,
        },
        "PageTicket": _all_of(ticket=NAME),
        "Forgotten": _all_of(
            object={"const": "forgotten"}, responses=_INTEGER, items=_INTEGER, answers=_INTEGER, stored=_INTEGER
        ),
        "ClosedConversation": _all_of(id=NAME, closed={"const": True}),
    }


def _completion(kind: str) -> JsonObject:
    return _all_of(
        id=STRING,
        object={"const": kind},
        created=_INTEGER,
        model=STRING,
        choices={"type": "array", "items": {"type": "object"}},
        usage={"type": "object"},
    )


def _messages_schemas(claude: JsonObject) -> JsonObject:
    """Return the schemas of Claude's Messages API."""
    return {
        "AnthropicError": _all_of(
            type={"const": "error"}, error=_all_of(type=STRING, message=STRING), request_id=STRING
        ),
        "MessagesMessage": _object(
            ("role",),
            role={"enum": ["user", "assistant", "system"]},
            content={"type": ["string", "array", "null"], "items": {"type": "object"}},
        ),
        "MessagesRequest": _request(
            MESSAGES_FIELDS, "messages", {"messages": {"items": ref("MessagesMessage")}, "claude": claude}
        ),
        "AnthropicMessage": _all_of(
            id=STRING,
            type={"const": "message"},
            role={"const": "assistant"},
            model=STRING,
            content={"type": "array", "items": {"type": "object"}},
            stop_reason=STRING,
            stop_sequence=_MAYBE_STRING,
            usage={"type": "object"},
        ),
        "InputTokens": _all_of(input_tokens=_INTEGER),
    }


def _usage_schemas() -> JsonObject:
    kinds = ("input", "cache_read", "cache_write", "output", "thinking")
    amounts: JsonObject = {
        "cost_usd": {"type": "number"},
        "estimated_usd": {"type": "number"},
        "at_list_price_usd": {"type": "number"},
        **{f"{kind}_tokens": _INTEGER for kind in kinds},
    }

    def groups(name: str) -> JsonObject:
        return {"type": "array", "items": _all_of(**{name: STRING}, **amounts)}

    period = _all_of(**amounts, by_model=groups("model"), by_key=groups("key"))
    window = _all_of(
        window=STRING, utilization=_MAYBE_NUMBER, resets_at=_MAYBE_NUMBER, status=STRING, age_s=_MAYBE_NUMBER
    )
    return {
        "Usage": _all_of(
            object={"const": "usage"},
            today=ref("UsagePeriod"),
            last_7_days=ref("UsagePeriod"),
            days=groups("day"),
            windows={"type": "array", "items": window},
            overage=_all_of(status=_MAYBE_STRING, in_use={"type": "boolean"}),
            limits=_all_of(max_cost_per_day_usd=_MAYBE_NUMBER, stop_at_utilization=_MAYBE_NUMBER),
            refusing=_MAYBE_STRING,
            problem=_MAYBE_STRING,
        ),
        "UsagePeriod": period,
    }
