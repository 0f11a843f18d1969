"""Objects of the Responses API: responses, items, the events of a streamed item, usage.

The ids of items are derived from the id of the response, so that the streamed and the whole response have the same ids.
The order of items is decided in `stream`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from claude_openai.errors import ApiError
from claude_openai.protocol.openai.chat.completion import cost_key
from claude_openai.protocol.openai.citations import Citation
from claude_openai.protocol.turn.events import FinishReason, Source, ToolCall, Usage
from claude_openai.protocol.wire.sse import encode_json, typed_frame

__all__ = [
    "INCOMPLETE",
    "MESSAGE",
    "REASONING",
    "REFUSAL",
    "ItemForm",
    "ItemInProgress",
    "ItemStatus",
    "ResponsesHead",
    "UnnumberedEvent",
    "failure_object",
    "response_usage",
]

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
ItemPrefix: TypeAlias = Literal["msg", "rs", "fc", "ws"]
# An event without its sequence_number.
UnnumberedEvent: TypeAlias = dict[str, Any]

# The `reason` of an incomplete response. A refusal is a complete response, as with OpenAI's models: with another status
# the OpenAI SDK would find no final response in the stream.
INCOMPLETE: Final[Mapping[FinishReason, str]] = {"length": "max_output_tokens"}
# Codes that Codex handles. It repeats the turn for every other code except `invalid_prompt`.
_KNOWN_CODES: Final = frozenset(
    {"context_length_exceeded", "insufficient_quota", "rate_limit_exceeded", "server_is_overloaded"}
)
_MAY_BE_REPEATED: Final = frozenset({"server_error", "rate_limit_error", "service_unavailable_error"})


@dataclass(frozen=True, slots=True)
class ResponsesHead:
    """The fields that all objects of one response share.

    Attributes:
        id: unique for this response, `resp_...`.
        created: start of the response, in whole seconds since 1970.
        echo: the fields that repeat the request.
        namespaces: as in `ResponsesTools`.
        with_sources: whether web searches have their sources.
    """

    id: str
    created: int
    echo: Mapping[str, Any]
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    with_sources: bool = False

    def item_id(self, prefix: ItemPrefix, index: int) -> str:
        return f"{prefix}_{self.id.removeprefix('resp_')}_{index}"

    def response(self, status: str, output: Sequence[Mapping[str, Any]], **ending: Any) -> dict[str, Any]:
        """Return the response object.

        Args:
            status: the status of the response.
            output: the items.
            ending: fields that are only set at the end of the response.
        """
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": list(output),
            "usage": None,
            **self.echo,
            **ending,
        }

    def function_call(self, call: ToolCall, index: int, status: ItemStatus, arguments: str) -> dict[str, Any]:
        namespace, name = self.namespaces.get(call.name, (None, call.name))
        return {
            "id": self.item_id("fc", index),
            "type": "function_call",
            "status": status,
            "call_id": call.id,
            "name": name,
            "arguments": arguments,
            **({} if namespace is None else {"namespace": namespace}),
        }

    def web_search_call(self, query: str, index: int, status: str, sources: Sequence[Source] = ()) -> dict[str, Any]:
        found = {"sources": [{"type": "url", "url": source.url} for source in sources]} if self.with_sources else {}
        action = {"type": "search", "query": query, "queries": [query], **found}
        return {"id": self.item_id("ws", index), "type": "web_search_call", "status": status, "action": action}


@dataclass(frozen=True, slots=True)
class PartForm:
    """The field and event names of a part of an item, whose text is streamed."""

    part: Mapping[str, Any]
    key: str
    event: str
    event_keys: Mapping[str, Any] = field(default_factory=dict)

    def of(self, text: str) -> dict[str, Any]:
        return {**self.part, self.key: text}


@dataclass(frozen=True, slots=True)
class ItemForm:
    """The field and event names of an item with parts: a message or reasoning."""

    prefix: ItemPrefix
    item: Mapping[str, Any]
    holder: str
    index_key: str
    part_event: str
    text: PartForm


REFUSAL: Final = PartForm({"type": "refusal"}, "refusal", "response.refusal")
MESSAGE: Final = ItemForm(
    prefix="msg",
    item={"type": "message", "role": "assistant"},
    holder="content",
    index_key="content_index",
    part_event="response.content_part",
    text=PartForm(
        {"type": "output_text", "annotations": [], "logprobs": []}, "text", "response.output_text", {"logprobs": []}
    ),
)
REASONING: Final = ItemForm(
    prefix="rs",
    item={"type": "reasoning"},
    holder="summary",
    index_key="summary_index",
    part_event="response.reasoning_summary_part",
    text=PartForm({"type": "summary_text"}, "text", "response.reasoning_summary_text"),
)


class ItemInProgress:
    """An item whose parts are being streamed.

    Args:
        form: the form of the item.
        head: the head of the response.
        index: the index of the item in `output`.
        part: the form of the first part; by default the form for text.
    """

    def __init__(self, form: ItemForm, head: ResponsesHead, index: int, part: PartForm | None = None) -> None:
        self.form = form
        self._index = index
        self._id = head.item_id(form.prefix, index)
        self._parts: list[dict[str, Any]] = []
        # Of a delta, without its text and number.
        self._frame: tuple[bytes, bytes, bytes] | None = None
        self._begin(part or form.text)

    def item(self, status: ItemStatus) -> dict[str, Any]:
        parts = [] if status == "in_progress" else [*self._parts, self._whole_part()]
        return {"id": self._id, **self.form.item, "status": status, self.form.holder: parts}

    def opened(self) -> Iterator[UnnumberedEvent]:
        yield {"type": "response.output_item.added", "output_index": self._index, "item": self.item("in_progress")}
        yield self._part_added()

    def delta(self, text: str) -> UnnumberedEvent:
        self._texts.append(text)
        return {**self._delta, "delta": text, **self._part.event_keys}

    def delta_frame(self, text: str, number: int) -> bytes:
        """Return the frame of `delta`, whose fixed parts are encoded once."""
        self._texts.append(text)
        if self._frame is None:
            event = {**self._delta, "delta": "", **self._part.event_keys, "sequence_number": 0}
            before, after = typed_frame(event).rsplit(b'""', 1)
            between, end = after.rsplit(b"0", 1)
            self._frame = before, between, end
        before, between, end = self._frame
        return b"%b%b%b%d%b" % (before, encode_json(text), between, number, end)

    def annotated(self, citation: Citation) -> UnnumberedEvent:
        """Add a citation to the current part, and return its event."""
        annotation = {"type": "url_citation", **citation.fields()}
        self._annotations.append(annotation)
        place = {**self._place, "annotation_index": len(self._annotations) - 1}
        return {"type": f"{self._part.event}.annotation.added", **place, "annotation": annotation}

    def next_part(self, part: PartForm) -> Iterator[UnnumberedEvent]:
        """End the current part and begin another."""
        yield from self._part_done()
        self._parts.append(self._whole_part())
        self._begin(part)
        yield self._part_added()

    def closed(self, item: dict[str, Any]) -> Iterator[UnnumberedEvent]:
        yield from self._part_done()
        yield {"type": "response.output_item.done", "output_index": self._index, "item": item}

    def _begin(self, part: PartForm) -> None:
        self._part = part
        self._texts: list[str] = []
        self._annotations: list[dict[str, Any]] = []
        self._place = {"item_id": self._id, "output_index": self._index, self.form.index_key: len(self._parts)}
        self._delta = {"type": f"{part.event}.delta", **self._place}
        self._frame = None

    def _whole_part(self) -> dict[str, Any]:
        part = self._part.of("".join(self._texts))
        return {**part, "annotations": self._annotations} if self._annotations else part

    def _part_added(self) -> UnnumberedEvent:
        return {"type": f"{self.form.part_event}.added", **self._place, "part": self._part.of("")}

    def _part_done(self) -> Iterator[UnnumberedEvent]:
        text = "".join(self._texts)
        yield {"type": f"{self._part.event}.done", **self._place, self._part.key: text, **self._part.event_keys}
        yield {"type": f"{self.form.part_event}.done", **self._place, "part": self._whole_part()}


def response_usage(usage: Usage, cost_usd: float | None = None) -> dict[str, Any]:
    """Return OpenAI's usage object. Its `input_tokens` include cached tokens; Claude's do not.

    Arguments as for `chat.completion.usage_object`.
    """
    input_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": input_tokens + usage.output_tokens,
        **cost_key(cost_usd),
    }


def failure_object(error: ApiError) -> dict[str, Any]:
    """Return the `error` of a failed response. Its codes are limited; the error event before it has the exact code."""
    if error.code in _KNOWN_CODES:
        code = error.code
    else:
        # A turn that is already paid for must not be repeated after any failure; see `errors`.
        code = "server_error" if error.may_retry and error.type in _MAY_BE_REPEATED else "invalid_prompt"
    return {"code": code, "message": error.message}
