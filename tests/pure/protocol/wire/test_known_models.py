"""What Claude Code reports of its models: how it is read, and which process is believed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.process.known_models import KnownModels
from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.wire.model_records import MAX_MODELS, Limits, Model, read_limits, read_models
from claude_openai.protocol.wire.models import ModelCatalog

# As 2.1.332 writes them.
OPUS = {
    "value": "opus",
    "resolvedModel": "claude-opus-5-5",
    "displayName": "Opus",
    "description": "Opus 5.5 \u00b7 Best for everyday, complex tasks \u00b7 $4/$20 per Mtok",
    "supportsEffort": True,
    "supportedEffortLevels": ["low", "medium", "high", "xhigh", "max"],
    "supportsAdaptiveThinking": True,
    "supportsFastMode": True,
    "supportsAutoMode": True,
    "supportsThinkingOff": False,
}
DEFAULT = {**OPUS, "value": "default", "displayName": "Default (recommended)"}
USAGE = {"inputTokens": 10, "costUSD": 9.8e-05, "contextWindow": 1000000, "maxOutputTokens": 128000}
MYTHOS = {**OPUS, "value": "mythos", "resolvedModel": "claude-mythos-1"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def answer(*models: Any) -> dict[str, Any]:
    """The answer to `initialize`."""
    response = {"models": list(models), "account": {"apiProvider": "firstParty"}}
    return {"type": "control_response", "response": {"subtype": "success", "request_id": "1", "response": response}}


def result(**usage: Any) -> dict[str, Any]:
    return {"type": "result", "is_error": False, "modelUsage": usage}


def started() -> KnownModels:
    return KnownModels(ModelCatalog("sonnet"), NULL_LOG)


def test_a_list_is_read_without_the_default() -> None:
    efforts = ("low", "medium", "high", "xhigh", "max")
    assert read_models([DEFAULT, OPUS]) == (Model("opus", "claude-opus-5-5", efforts, fast=True),)
    assert read_models([{"value": "haiku"}]) == (Model("haiku"),)
    assert read_models([{"value": "haiku", "supportedEffortLevels": ["max", [], "ultra", "low"]}]) == (
        Model("haiku", "", ("low", "max")),
    )


@pytest.mark.parametrize("listed", [None, {}, "models", [], [None, 1, "opus"], [{"value": None}], [DEFAULT]])
def test_a_list_of_another_form_is_none(listed: Any) -> None:
    assert read_models(listed) is None


@pytest.mark.parametrize("name", ["", "-opus", "my model", "a\n", "caf\u00e9", "m" * 257, None, 5, ["opus"]])
def test_a_name_that_is_no_safe_argument_is_left_out(name: Any) -> None:
    assert read_models([{**OPUS, "value": name}, OPUS]) == read_models([OPUS])
    assert read_models([{**OPUS, "resolvedModel": name}]) == read_models([{**OPUS, "resolvedModel": ""}])
    if isinstance(name, str):
        assert read_limits({name: USAGE}) == {}


def test_a_long_list_is_cut() -> None:
    many = [{"value": f"m{number}", "supportedEffortLevels": ["low"] * 1000} for number in range(10_000)]
    assert read_models(many) == tuple(Model(f"m{number}", "", ("low",)) for number in range(MAX_MODELS))
    assert len(read_limits({f"m{number}": USAGE for number in range(10_000)})) == MAX_MODELS


def test_limits_are_read_where_both_are_whole_numbers() -> None:
    assert read_limits({"claude-opus-5-5": USAGE}) == {"claude-opus-5-5": Limits(1_000_000, 128_000)}
    for wrong in (None, "1000000", True, 0, -1, 1.5, 10**12):
        assert read_limits({"a": {**USAGE, "contextWindow": wrong}, "b": {**USAGE, "maxOutputTokens": wrong}}) == {}
    assert read_limits({"a": None}) == read_limits(None) == read_limits([USAGE]) == {}


@given(anything, anything)
def test_no_record_fails_and_another_form_changes_nothing(listed: Any, usage: Any) -> None:
    known = started()
    before = known.catalog()
    for record in (
        {"type": "control_response", "response": {"response": {"models": listed}}},
        {"type": "control_response", "response": listed},
        {"type": "result", "modelUsage": usage},
        {"type": usage},
    ):
        known.note(record, started_with="sonnet")
    assert known.catalog().listing() == before.listing()


def test_a_result_has_the_limits_of_the_name_asked_for_if_one_model_was_used() -> None:
    known = started()
    known.note(result(**{"claude-opus-5-5": {**USAGE, "contextWindow": 200_000}}), started_with="best")
    for name in ("best", "claude-opus"):
        assert known.catalog().model_object(name, 0)["context_length"] == 200_000
    small = {**USAGE, "contextWindow": 100}
    known.note(result(**{"claude-opus-5-5": USAGE, "claude-haiku-5-5": small}), started_with="best")
    told = {name: known.catalog().model_object(name, 0)["context_length"] for name in ("best", "opus", "haiku")}
    assert told == {"best": 200_000, "opus": 1_000_000, "haiku": 100}


def test_a_probe_is_believed_until_a_process_of_the_account_has_answered() -> None:
    known = started()
    known.note(answer(MYTHOS), started_with="sonnet", of_account=False)
    assert known.catalog().listing()[4:] == ["claude-mythos"]
    known.note(answer({**MYTHOS, "resolvedModel": "eu.claude-mythos-1"}), started_with="sonnet")
    after = known.catalog()
    known.note(answer(MYTHOS, {"value": "of-the-probe"}), started_with="sonnet", of_account=False)
    known.note(result(**{"claude-mythos-1": USAGE}), started_with="sonnet", of_account=False)
    assert known.catalog() == after
    known.note(answer({"value": "of-the-account"}), started_with="opus")
    assert known.catalog().listing()[4:] == ["claude-mythos", "of-the-account"]


def test_an_answer_that_cannot_be_read_does_not_end_the_trust_in_a_probe() -> None:
    known = started()
    known.note(json.loads('{"type": "control_response", "response": {"response": {"models": 5}}}'), started_with="opus")
    known.note(answer(MYTHOS), started_with="sonnet", of_account=False)
    assert "claude-mythos" in known.catalog().listing()
