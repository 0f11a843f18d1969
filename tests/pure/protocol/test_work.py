"""No request causes more work than its size allows: what once took minutes is counted here, in calls and not in time.

The sizes are those at which it was found where that takes no long time, and smaller ones where the growth shows it.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from claude_openai.errors import BadRequest
from claude_openai.protocol.claude_code.argument_checker import ArgumentChecker
from claude_openai.protocol.json_schema import metaschema
from claude_openai.protocol.json_schema import validation as schemas
from claude_openai.protocol.json_schema.tool_dialect import tool_schema
from claude_openai.protocol.json_schema.validation import usable_schema
from claude_openai.protocol.limits.bounded_cache import MIN_SIZE, Kept
from claude_openai.protocol.limits.budget import CHECK_STEPS, REQUEST_STEPS, Budget, request_budget
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.openai.responses.request import parse_responses_request
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire import json_body
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.tools import read_tools
from tests.calls import calls_of
from tests.hostile.heavy import honest_tool

CATALOG = ModelCatalog("sonnet", ())
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
Make = Callable[[int], dict[str, Any]]

HONEST_TOOLS = 128


def doubling(levels: int) -> dict[str, Any]:
    """A schema of a few lines that asks for 2 ** `levels` steps."""
    below = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**below, f"l{levels}": {"type": "object"}}}


SCHEMAS: dict[str, Make] = {
    "types": lambda n: {"properties": {"a": {"type": [{"a": each} for each in range(n)]}}},
    "values": lambda n: {"$schema": DRAFT_4, "properties": {"a": {"enum": [[each, {"a": each}] for each in range(n)]}}},
    "properties": lambda n: {"properties": {f"a{each}": {} for each in range(n)}},
    "anyOf": lambda n: {"anyOf": [{}] * n},
    "oneOf": lambda n: {"oneOf": [{"type": "string"}] * n},
    "allOf": lambda n: {"allOf": [{}] * n},
    "the same reference": lambda n: {"anyOf": [{"$ref": "#/$defs/a"}] * n, "$defs": {"a": {"type": "object"}}},
    "anchors": lambda n: {
        "properties": {f"a{each}": {"$ref": f"#a{each}"} for each in range(n)},
        "$defs": {f"a{each}": {"$anchor": f"a{each}"} for each in range(n)},
    },
    "required": lambda n: {"required": [f"a{each}" for each in range(n)]},
}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()


def function(schema: dict[str, Any], name: str = "look") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def parse(raw: bytes) -> TurnRequest:
    return parse_chat_request(raw, CATALOG)


def refusal_of(raw: bytes) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        parse(raw)
    return raised.value.code, raised.value.param


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "_kept", Kept(schemas.KEPT_CHARS))


def attempt(raw: bytes) -> None:
    with suppress(BadRequest):
        parse(raw)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("place", ["tools", "response_format"])
def test_four_times_the_schema_is_four_times_the_work(name: str, place: str) -> None:
    def work(count: int) -> int:
        schema = SCHEMAS[name](count)
        raw = body(tools=[function(schema)]) if place == "tools" else body(response_format=form(schema))
        return calls_of(lambda: attempt(raw))

    work(10)  # what is done once
    small, large = work(400), work(1600)  # both have more brackets than a body may be deep
    assert large < 4.5 * small
    assert large < 1600 * 600


@pytest.mark.long
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_at_the_size_at_which_it_was_found_is_within_the_budget_or_refused(name: str) -> None:
    raw = body(tools=[function(SCHEMAS[name](20_000 if name != "anchors" else 5_000))])
    budget = request_budget(len(raw))
    attempt(raw)
    assert calls_of(lambda: attempt(raw)) < 20 * budget.left


def test_the_tools_of_a_request_have_one_budget_for_their_references() -> None:
    assert parse(body(tools=[function(doubling(11))])).tools
    tools = [function({**doubling(11), "title": str(number)}, f"look_{number}") for number in range(8)]
    code, param = refusal_of(body(tools=tools))
    assert code == "invalid_function_parameters"
    assert param is not None
    assert param.startswith("tools[")
    assert param.endswith("].function.parameters")


def test_a_form_shares_the_budget_of_the_tools() -> None:
    tools = [function({**doubling(11), "title": str(number)}, f"look_{number}") for number in range(2)]
    assert parse(body(tools=tools)).tools
    assert parse(body(response_format=form(doubling(11)))).output
    place = "response_format.json_schema.schema"
    assert refusal_of(body(tools=tools, response_format=form(doubling(11)))) == ("invalid_json_schema", place)


def test_what_was_read_before_costs_the_same_again() -> None:
    tools = [function({**doubling(11), "title": str(number)}, f"look_{number}") for number in range(8)]
    for tool in tools:
        parse(body(tools=[tool]))
    assert refusal_of(body(tools=tools))[0] == "invalid_function_parameters"
    budgets = [Budget(), Budget()]
    for budget in budgets:
        usable_schema(json.dumps(doubling(10)), budget)
    assert budgets[0].left == budgets[1].left < REQUEST_STEPS


def test_the_largest_honest_request_takes_a_fifth_of_its_budget() -> None:
    raw = body(tools=[honest_tool(number) for number in range(HONEST_TOOLS)])
    assert 700 * 1024 < len(raw) < 800 * 1024
    assert len(parse(raw).tools) == HONEST_TOOLS
    budget = request_budget(len(raw))
    read_tools([honest_tool(number) for number in range(HONEST_TOOLS)], budget)
    assert budget.left > 0.8 * REQUEST_STEPS


@pytest.mark.long
def test_a_form_of_that_size_is_within_the_budget() -> None:
    properties = {
        f"t{number}": honest_tool(number)["function"]["parameters"]["properties"]["p0"] for number in range(8000)
    }
    raw = body(response_format=form({"type": "object", "properties": properties, "$defs": {"Node": {}}}))
    assert len(raw) > 700 * 1024
    assert parse(raw).output is not None


def test_schemas_of_any_size_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = body(tools=[function({"type": "object", "title": "x" * 100_000, "properties": {"a": {"$ref": "#"}}})])
    first = parse(raw)

    def again(*_: object) -> None:
        raise AssertionError("it was checked again")

    monkeypatch.setattr(metaschema, "_rule_of", again)
    monkeypatch.setattr("claude_openai.protocol.json_schema.document.check_schema", again)
    assert parse(raw) == first


def test_what_is_kept_is_bounded_by_the_size_of_all() -> None:
    kept: Kept[int] = Kept(10 * MIN_SIZE)
    for number in range(20):
        kept.put(str(number), number, 1)
    assert [number for number in range(20) if kept.get(str(number)) is not None] == list(range(10, 20))
    kept.put("large", 0, 8 * MIN_SIZE)
    assert [number for number in range(20) if kept.get(str(number)) is not None] == [18, 19]
    kept.put("too large", 0, 10 * MIN_SIZE + 1)
    assert kept.get("too large") is None
    assert kept.get("large") == 0


def test_a_body_of_too_many_values_is_not_read_and_its_field_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(text: str) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(json_body, "load_finite", read)
    many = b"1," * 5_000_000 + b"1"
    assert refusal_of(b'{"model": "sonnet", "a": [1], "messages": [' + many + b"]}") == ("invalid_value", "messages")
    messages = b'{"role":"user","content":"x"},' * 200_000
    assert refusal_of(b'{"model": "sonnet", "messages": [' + messages + b"]}") == ("invalid_value", "messages")
    assert refusal_of(b"[" * 300_000) == ("invalid_value", None)


def test_what_stands_in_strings_is_no_value() -> None:
    text = '{"a": [1, 2, 3], "\\\\"} ' * 60_000
    assert parse(body(messages=[{"role": "user", "content": text}, {"role": "user", "content": "x\\"}])).prompt.text
    assert parse(body(messages=[{"role": "user", "content": "\\" * 500_000 + ",:[{" * 100_000}])).prompt.text


@pytest.mark.long
def test_the_arguments_of_earlier_calls_count_together() -> None:
    def history(arguments: str, count: int) -> bytes:
        calls = [
            {"id": f"c{each}", "type": "function", "function": {"name": "look", "arguments": arguments}}
            for each in range(count)
        ]
        results = [{"role": "tool", "tool_call_id": f"c{each}", "content": "x"} for each in range(count)]
        return body(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": calls}, *results])

    values = '{"a":[' + "1," * 60_000 + "1]}"
    assert parse(history(values, 4)).turns
    place = "messages[1].tool_calls[16].function.arguments"
    assert refusal_of(history(values, 20)) == ("invalid_value", place)
    items = [{"type": "function_call", "call_id": f"c{n}", "name": "look", "arguments": values} for n in range(20)]
    asked = {"model": "sonnet", "input": [{"role": "user", "content": "Hi"}, *items]}
    with pytest.raises(BadRequest) as raised:
        parse_responses_request(json.dumps(asked).encode(), CATALOG, lambda _: None)
    assert raised.value.param == "input[17].arguments"


def test_a_reference_to_an_answer_counts_as_often_as_it_is_made() -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x" * 1_000_000}]}
    asked = {"model": "sonnet", "input": [{"type": "item_reference", "id": "msg_1"}] * 1000}
    with pytest.raises(BadRequest) as raised:
        parse_responses_request(json.dumps(asked).encode(), CATALOG, lambda _: item)
    assert (raised.value.code, raised.value.param) == ("invalid_value", "input[16]")


def checked(schema: dict[str, Any], arguments: dict[str, Any], clock: Callable[[], float] = lambda: 0.0) -> str:
    checker = ArgumentChecker(read_tools([function(schema)], Budget()), clock)
    return checker.problem("look", arguments) or ""


ARGUMENTS: dict[str, tuple[Make, Make]] = {
    "unique items": (
        lambda n: {"properties": {"a": {"uniqueItems": True}}},
        lambda n: {"a": [{"a": each} for each in range(n)]},
    ),
    "an item of many": (
        lambda n: {"properties": {"a": {"items": {"enum": [[each] for each in range(n)]}}}},
        lambda n: {"a": [[n - 1]] * n},
    ),
    "unevaluated items": (
        lambda n: {"properties": {"a": {"contains": {"type": "integer"}, "unevaluatedItems": False}}},
        lambda n: {"a": list(range(n))},
    ),
    "rows": (
        lambda n: {"properties": {"a": {"items": {"properties": {"b": {"type": "integer"}}, "required": ["b"]}}}},
        lambda n: {"a": [{"b": each} for each in range(n)]},
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_four_times_the_arguments_are_four_times_the_work(name: str) -> None:
    schema, arguments = ARGUMENTS[name]

    def work(count: int) -> int:
        checker = ArgumentChecker(read_tools([function(schema(count))], Budget()), lambda: 0.0)
        given = arguments(count)
        assert checker.problem("look", given) is None
        return calls_of(lambda: checker.problem("look", given))

    assert work(800) < 4.5 * work(200)


@pytest.mark.long
@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"items": {"required": [f"b{each}" for each in range(5000)]}}, [{}] * 5000),
        ({"items": {"anyOf": [{"type": "string"}] * 5000}}, [list(range(1000))] * 1000),
        ({"anyOf": [{"type": "string"}] * 5000}, list(range(50_000))),
        ({"items": {"properties": {f"b{each}": {} for each in range(5000)}}}, [{}] * 50_000),
        ({"contains": {"not": {}}}, [{}] * 2_000_000),
        ({"$ref": "#/$defs/l0"}, 1),
    ],
)
def test_arguments_that_take_too_much_work_do_not_fit(schema: dict[str, Any], arguments: Any) -> None:
    definitions = doubling(40)["$defs"]
    found: list[str] = []
    calls = calls_of(
        lambda: found.append(checked({"properties": {"a": schema}, "$defs": definitions}, {"a": arguments}))
    )
    assert "checking them takes more than 1000000 steps" in found[0]
    assert calls < 20_000_000


@pytest.fixture
def clock() -> Callable[[], float]:
    """Seconds, 0.02 of which pass between each look at it and the next one."""
    now = 0.0

    def read() -> float:
        nonlocal now
        now += 0.02
        return now

    return read


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"items": {"pattern": "^(a|aa)+$"}}, ["a" * 40 + "b"] * 400),
        ({"patternProperties": {"^(a|aa)+$": {}}}, {"a" * 40 + f"b{each}": 1 for each in range(400)}),
        (
            {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
            {"a" * 40 + f"b{each}": 1 for each in range(400)},
        ),
    ],
)
def test_the_patterns_of_one_check_have_one_limit(
    schema: dict[str, Any], arguments: Any, clock: Callable[[], float]
) -> None:
    validator = usable_schema(json.dumps({"properties": {"a": schema}}), Budget())
    found = validator.problem({"a": arguments}, Budget(CHECK_STEPS, clock, pattern_s=0.0001))
    assert found == "checking them takes more than 500 ms for its patterns"
    assert clock() < 1.2


@pytest.mark.parametrize(
    "pattern",
    ["a{1000000}", "((a{100}){100}){100}", "(?x)(a{1000}) {1000}", "a{1000000000}", "a" * 5001, "(?:a{9999,}b){99}"],
)
def test_a_pattern_that_cannot_be_read_within_bounds_is_refused(pattern: str) -> None:
    schemas_with_it: list[dict[str, Any]] = [{"pattern": pattern}, {"patternProperties": {pattern: {}}}]
    for schema in schemas_with_it:
        raw = body(tools=[function({"properties": {"a": {"items": schema}}})])
        assert refusal_of(raw) == ("invalid_function_parameters", "tools[0].function.parameters")
    assert checked({"properties": {"a": {"format": "regex"}}}, {"a": pattern}) == ""


@pytest.mark.parametrize(
    "pattern",
    [
        "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12})$",
        "^/users/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12})/items/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12})$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3})?Z$",
        r"^(([0-9a-fA-F]{1,4}:){7,7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:|((25[0-5]|\d)\.){3,3}(25[0-5]|\d))$",
        "^.{1,10000}$",
        "[a-z]{1000}",
    ],
)
def test_the_patterns_that_people_write_are_read(pattern: str) -> None:
    assert checked({"properties": {"a": {"pattern": pattern}}}, {"a": ""}) != ""


def test_the_properties_of_many_alternatives_are_put_together_one_by_one() -> None:
    def work(count: int) -> int:
        parts: list[dict[str, Any]] = [{"properties": {f"a{each}": {}}} for each in range(count)]
        text = json.dumps({"anyOf": parts})
        merged = tool_schema(text)["properties"]
        assert len(merged) == count
        return calls_of(lambda: tool_schema(text))

    assert work(800) < 4.5 * work(200)
