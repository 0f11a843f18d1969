"""Requests of real clients, and requests that are nearly valid, generated."""

import json
import operator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from claude_openai.protocol.openai.chat.fields import FIELDS

__all__ = ["ALMOST_REQUESTS", "FIXTURES", "JSON", "MESSAGE", "PART", "fixture"]


FIXTURES = Path(__file__).parents[1] / "fixtures"


def fixture(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text("utf-8"))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters())),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(st.characters()), inner)),
    max_leaves=20,
)
PART = st.fixed_dictionaries({}, optional={"type": st.sampled_from(["text", "refusal", "file"]), "text": JSON})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={"content": st.one_of(JSON, st.text(), st.lists(PART)), "tool_calls": JSON, "refusal": JSON},
)
# A few odd fields at a time: the first of them is refused, and the rest is not read.
ALMOST_REQUESTS = st.builds(
    operator.or_,
    st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=3),
    st.fixed_dictionaries(
        {"model": st.one_of(st.just("sonnet"), JSON), "messages": st.one_of(st.lists(MESSAGE), JSON)}
    ),
)
