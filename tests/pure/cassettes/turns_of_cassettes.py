"""Requests and entries for the tests of cassettes, and hypothesis strategies of them."""

from typing import Any, Final, get_args

from hypothesis import strategies as st

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Answer, Call, Cancelled, Completed, Entry, Failed, Passage
from claude_openai.cassettes.masking import make_mask
from claude_openai.protocol.turn.events import FinishReason, Usage

__all__ = ["ANSWERS", "CHAT", "COMPLETIONS", "JSON", "RESPONSES", "answered", "chat", "request_of"]

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
RESPONSES: Final = "/v1/responses"
_MASK: Final = make_mask()
_COUNTS: Final = st.integers(0, 2**53)
_TEXTS: Final = st.text()

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_OBJECTS: Final = st.dictionaries(_TEXTS, JSON, max_size=4)
_PASSAGES: Final = st.builds(
    Passage,
    st.sampled_from(["text", "thinking"]),
    _TEXTS,
    st.lists(st.tuples(_COUNTS, _COUNTS), max_size=3).map(tuple),
)
_CALLS: Final = st.builds(Call, _TEXTS, _TEXTS, _OBJECTS, st.none() | _COUNTS)
_USAGES: Final = st.builds(Usage, _COUNTS, _COUNTS, _COUNTS, _COUNTS, _COUNTS)
_ENDS: Final = st.one_of(
    st.builds(Completed, st.sampled_from(get_args(FinishReason)), _USAGES),
    st.builds(
        Failed,
        st.integers(400, 599),
        _TEXTS,
        st.none() | _TEXTS,
        _TEXTS,
        st.none() | _TEXTS,
        st.none() | st.integers(),
        st.booleans(),
    ),
    st.just(Cancelled()),
)
ANSWERS: Final = st.builds(
    Answer, st.lists(_PASSAGES | _CALLS, max_size=4).map(tuple), _ENDS, _TEXTS, st.none() | _COUNTS
)


def request_of(body: dict[str, Any], path: str = CHAT) -> ClientRequest:
    return ClientRequest.of(path, body, _MASK)


def chat(*texts: str, **fields: Any) -> ClientRequest:
    """A chat request whose messages are those of the user."""
    messages = [{"role": "user", "content": text} for text in texts]
    return request_of({"model": "claude-sonnet", "messages": messages, **fields})


def answered(request: ClientRequest, text: str = "ok", line: int = 2) -> Entry:
    """An entry with a text as the answer."""
    return Entry(request, Answer((Passage("text", text),), Completed("stop", Usage())), line)
