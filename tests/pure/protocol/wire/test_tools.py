"""OpenAI's tools, what is refused of them and where, and the check of the arguments Claude gives."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import BadRequest
from claude_openai.protocol.claude_code.argument_checker import ArgumentChecker
from claude_openai.protocol.json_schema.tool_dialect import tool_schema
from claude_openai.protocol.json_schema.validation import UnusableSchema, usable_schema
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.turn.tools import MAX_NAME_CHARS, Tool, ToolChoice
from claude_openai.protocol.wire.tool_choice import (
    allows_parallel_calls,
    offered_tools,
    read_choice,
    read_tool_choice,
)
from claude_openai.protocol.wire.tools import MAX_TOOLS, read_tools
from claude_openai.standin.validation import problem_of

NO_MESSAGE = "messages: at least one message is required"  # nothing is wrong with the tools
DRAFT_07 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020_12 = "https://json-schema.org/draft/2020-12/schema"


def function(name: Any = "read", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def read(tools: Sequence[Any]) -> tuple[Tool, ...]:
    return read_tools(tools, Budget())


def checking(tools: Sequence[Tool]) -> ArgumentChecker:
    return ArgumentChecker(tools, time.thread_time)


def refusal_of(*tools: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        read(tools)
    assert raised.value.status == 400
    return raised.value.code, raised.value.param


def refusal_of_schema(schema: Any) -> tuple[str | None, str | None]:
    return refusal_of(function(parameters=schema))


def problem(schema: dict[str, Any], arguments: object) -> str | None:
    return checking(read([function(parameters=schema)])).problem("read", arguments)


def test_a_tool_keeps_its_name_its_description_and_the_order_of_its_schema() -> None:
    schema = {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    (tool,) = read([function(description="Reads.", parameters=schema, strict=True)])
    assert (tool.name, tool.description) == ("read", "Reads.")
    assert tool.parameters == json.dumps(schema, separators=(",", ":"))
    assert json.dumps(tool.schema) == json.dumps(schema)


def test_tools_keep_their_order() -> None:
    assert [tool.name for tool in read([function("z"), function("a"), function("M")])] == ["z", "a", "M"]
    assert read([]) == ()


@pytest.mark.parametrize("absent", [{}, {"parameters": None}])
def test_a_function_without_parameters_takes_none(absent: dict[str, Any]) -> None:
    (tool,) = read([function(**absent)])
    assert tool.schema == {"type": "object", "properties": {}}


@pytest.mark.parametrize("absent", [{}, {"description": None}, {"description": ""}])
def test_a_description_may_be_absent(absent: dict[str, Any]) -> None:
    assert read([function(**absent)])[0].description == ""


SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
OF_FUNCTION = {"name": "read", "description": "Reads.", "parameters": SCHEMA}
OF_CLAUDE = {"name": "read", "description": "Reads.", "input_schema": SCHEMA}


@pytest.mark.parametrize("kind", [{"type": "function"}, {}, {"type": None}, {"type": ""}])
@pytest.mark.parametrize("form", [{"function": OF_FUNCTION}, OF_FUNCTION, OF_CLAUDE, {"function": OF_CLAUDE}])
def test_a_function_is_the_same_in_each_form_that_clients_send(kind: Any, form: Any) -> None:
    assert read([{**kind, **form}]) == read([function(**OF_FUNCTION)])


def test_a_tool_in_the_form_of_claudes_api_may_say_custom() -> None:
    cached = {"type": "custom", "cache_control": {"type": "ephemeral"}, **OF_CLAUDE}
    assert read([cached]) == read([function(**OF_FUNCTION)])
    assert refusal_of({**OF_CLAUDE, "input_schema": []}) == ("invalid_type", "tools[0].input_schema")


OLDER: Final = [
    (
        {"at": {"type": "array", "items": [{"type": "number"}] * 2, "additionalItems": False}},
        7,
        {"at": [1, 2]},
        {"at": [1, 2, 3]},
    ),
    ({"ttl": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}, 4, {"ttl": 1}, {"ttl": 0}),
    ({"q": {"type": "string", "required": True}}, 3, {"q": "x"}, {}),
]


@pytest.mark.parametrize(("properties", "draft", "good", "bad"), OLDER)
def test_schema_of_an_older_draft_is_translated_and_checked_by_its_draft(
    properties: Any, draft: int, good: Any, bad: Any
) -> None:
    schema = {
        "$schema": f"http://json-schema.org/draft-0{draft}/schema#",
        "type": "object",
        "properties": properties,
    }
    (tool,) = read([function(parameters=schema)])
    offered = tool_schema(tool.claude_schema)
    assert problem_of({"messages": [], "tools": [{"name": "read", "input_schema": schema}]}) != NO_MESSAGE
    assert problem_of({"messages": [], "tools": [{"name": "read", "input_schema": offered}]}) == NO_MESSAGE
    jsonschema.validate(good, offered, jsonschema.Draft202012Validator)
    assert checking([tool]).problem("read", good) is None
    assert checking([tool]).problem("read", bad) is not None


def test_a_schema_that_is_valid_by_the_latest_draft_too_is_offered_as_it_is() -> None:
    schema = {"$schema": DRAFT_07, "type": "object", "properties": {"a": {"type": "string"}}, "definitions": {"b": {}}}
    assert read([function(parameters=schema)])[0].claude_schema == ""


def test_schema_of_an_older_draft_without_translation_is_refused() -> None:
    endless = {"$schema": DRAFT_07, "items": [{}], "properties": {"a": {"$ref": "#/definitions/a"}}}
    endless["definitions"] = {"a": {"allOf": [{"$ref": "#/definitions/a"}]}}
    assert refusal_of(function(parameters=endless)) == ("invalid_function_parameters", "tools[0].function.parameters")


@pytest.mark.parametrize("name", ["a", "A-Z_0-9", "x" * MAX_NAME_CHARS, "-", "0"])
def test_a_name_that_claude_takes_is_taken(name: str) -> None:
    assert read([function(name)])[0].name == name


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME_CHARS + 1), "a b", "read.file", "é", "read\n", "read/", "\u0660"])
def test_a_name_that_claude_does_not_take_is_refused(name: str) -> None:
    assert refusal_of(function(name)) == ("invalid_value", "tools[0].function.name")


@pytest.mark.parametrize(
    ("bad", "code", "place"),
    [
        (7, "invalid_type", ""),
        ("read", "invalid_type", ""),
        (None, "invalid_type", ""),
        ([function()], "invalid_type", ""),
        ({"type": "custom", "custom": {"name": "f"}}, "unsupported_value", ".type"),
        ({"type": "web_search"}, "unsupported_value", ".type"),
        ({"type": 7, "function": {"name": "f"}}, "unsupported_value", ".type"),
        ({"type": "function"}, "missing_required_parameter", ".function"),
        ({"type": "function", "function": None}, "missing_required_parameter", ".function"),
        ({"type": "function", "function": "f"}, "invalid_type", ".function"),
        ({"type": "custom", "name": "f"}, "unsupported_value", ".type"),
        ({"type": "web_search_20250305", "name": "web_search"}, "unsupported_value", ".type"),
        ({"type": "function", "name": None}, "missing_required_parameter", ".name"),
        ({"type": "function", "function": {}}, "missing_required_parameter", ".function.name"),
        (function(None), "missing_required_parameter", ".function.name"),
        (function(7), "invalid_type", ".function.name"),
        (function(["f"]), "invalid_type", ".function.name"),
        (function(description=7), "invalid_type", ".function.description"),
        (function(description=["Reads."]), "invalid_type", ".function.description"),
        (function(parameters=[]), "invalid_type", ".function.parameters"),
        (function(parameters=True), "invalid_type", ".function.parameters"),
        (function(parameters="{}"), "invalid_type", ".function.parameters"),
        (function(parameters={"type": "string"}), "invalid_value", ".function.parameters.type"),
        (function(parameters={"type": ["object", "null"]}), "invalid_value", ".function.parameters.type"),
        (function(parameters={"type": None}), "invalid_value", ".function.parameters.type"),
        (function(parameters={"$schema": 7}), "invalid_type", ".function.parameters.$schema"),
        (function(parameters={"$schema": [DRAFT_07]}), "invalid_type", ".function.parameters.$schema"),
    ],
)
def test_a_malformed_tool_is_refused_at_its_exact_place(bad: Any, code: str, place: str) -> None:
    assert refusal_of(function("fine"), bad) == (code, f"tools[1]{place}")


def test_a_name_of_two_tools_is_refused_at_the_second() -> None:
    tools = [function("read"), function("write"), function("read", description="Other.")]
    assert refusal_of(*tools) == ("invalid_value", "tools[2].function.name")


def test_a_tool_that_comes_twice_is_offered_once() -> None:
    assert [tool.name for tool in read([function("read"), function("write"), function("read")])] == ["read", "write"]


def test_more_tools_than_openai_takes_are_taken_but_not_any_number() -> None:
    most = [function(f"f{number}") for number in range(MAX_TOOLS)]
    assert MAX_TOOLS > 128
    assert len(read(most)) == MAX_TOOLS
    assert refusal_of(*most, function()) == ("invalid_value", "tools")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"properties": []},
        {"properties": {"a": {"type": "text"}}},
        {"properties": {"a": 7}},
        {"required": "a"},
        {"required": [1]},
        {"properties": {"a": {"enum": "abc"}}},
        {"properties": {"a": {"minimum": "1"}}},
        {"properties": {"a": {"multipleOf": 0}}},
        {"$defs": {"a": {"type": 7}}},
        {"$schema": DRAFT_07, "definitions": {"a": {"type": 7}}},
        {"$schema": DRAFT_07, "properties": {"a": {"items": 7}}},
        {"$id": 7},
    ],
)
def test_invalid_schema_is_refused_for_any_invalid_part(schema: dict[str, Any]) -> None:
    parameters = {"type": "object", **schema}
    if schema == {"type": "strin"}:
        parameters = {"type": "object", "additionalProperties": schema}
    assert refusal_of_schema(parameters) == ("invalid_function_parameters", "tools[0].function.parameters")


def test_refused_schema_error_names_the_place() -> None:
    with pytest.raises(BadRequest, match=r"\$\.properties\.path\.type"):
        read([function(parameters={"type": "object", "properties": {"path": {"type": "text"}}})])


@pytest.mark.parametrize("uri", [DRAFT_07, DRAFT_2020_12, None, "https://example.com/a-draft-of-our-own"])
def test_a_schema_of_either_draft_is_taken_and_checked(uri: str | None) -> None:
    schema = {
        "type": "object",
        "properties": {"limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991, "default": 9}},
        "required": ["limit"],
        "additionalProperties": False,
        **({} if uri is None else {"$schema": uri}),
    }
    assert problem(schema, {"limit": 3}) is None
    for wrong in ({}, {"limit": 0}, {"limit": "3"}, {"limit": 3, "x": 1}):
        assert problem(schema, wrong) is not None


def test_each_schema_is_read_by_the_rules_of_its_own_draft() -> None:
    # An array of `items` is a tuple in draft-07; 2020-12 calls that `prefixItems` and refuses the old word.
    pair = {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}
    old = {"$schema": DRAFT_07, "type": "object", "properties": {"pair": pair}}
    assert problem(old, {"pair": ["a", 1]}) is None
    assert problem(old, {"pair": [1, "a"]}) is not None
    assert refusal_of_schema({**old, "$schema": DRAFT_2020_12})[0] == "invalid_function_parameters"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a schema made this process open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


ELSEWHERE = ["http://127.0.0.1:9/schema.json", "https://example.com/x#/$defs/a", "file:///etc/passwd", "other.json"]
NOWHERE = ["#/$defs/none", "#none", "#/properties/%ff"]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("reference", [*ELSEWHERE, *NOWHERE])
def test_a_reference_to_elsewhere_is_refused_and_nothing_is_fetched(reference: str) -> None:
    schema = {"type": "object", "$ref": reference}
    assert refusal_of_schema(schema) == ("invalid_function_parameters", "tools[0].function.parameters")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("reference", [*ELSEWHERE, *NOWHERE])
def test_a_reference_to_elsewhere_is_refused_wherever_it_stands(keyword: str, reference: str) -> None:
    for place in ("properties", "$defs", "patternProperties"):
        schema = {"type": "object", place: {"a": {"anyOf": [{"type": "array", "items": {keyword: reference}}]}}}
        assert refusal_of_schema(schema) == ("invalid_function_parameters", "tools[0].function.parameters")


def test_what_only_looks_like_a_reference_is_none() -> None:
    schema = {
        "type": "object",
        "properties": {"$ref": {"type": "string"}, "a": {"enum": [{"$ref": "http://127.0.0.1:9/"}]}},
        "default": {"$ref": "http://127.0.0.1:9/"},
    }
    assert problem(schema, {"$ref": "x", "a": {"$ref": "http://127.0.0.1:9/"}}) is None
    assert problem(schema, {"$ref": 7}) is not None


TREE = {
    "type": "object",
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "required": ["root"],
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "children": {"items": {"$ref": "#/$defs/node"}}},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}


def test_references_within_a_schema_are_followed_also_when_it_is_recursive() -> None:
    leaf = {"name": "leaf"}
    assert problem(TREE, {"root": {"name": "top", "children": [leaf, {"name": "x", "children": [leaf]}]}}) is None
    found = problem(TREE, {"root": {"name": "top", "children": [leaf, {"name": 7}]}})
    assert found is not None
    assert "$.root.children[1].name" in found
    found = problem(TREE, {"root": {"name": "top", "children": [{**leaf, "colour": 1}]}})
    assert found is not None
    assert "'colour' was unexpected" in found


@pytest.mark.parametrize("uri", [DRAFT_07, DRAFT_2020_12])
def test_definitions_by_their_old_name_are_found(uri: str) -> None:
    schema = {
        "$schema": uri,
        "type": "object",
        "definitions": {"path": {"type": "string"}},
        "properties": {"path": {"$ref": "#/definitions/path"}},
    }
    assert problem(schema, {"path": "/"}) is None
    assert problem(schema, {"path": 7}) is not None


def test_a_schema_with_an_id_of_its_own_finds_its_parts() -> None:
    schema = {
        "$id": "https://example.com/tool.json",
        "type": "object",
        "$defs": {"path": {"$anchor": "path", "type": "string"}},
        "properties": {"a": {"$ref": "#path"}, "b": {"$ref": "tool.json#/$defs/path"}},
    }
    assert problem(schema, {"a": "x", "b": "y"}) is None
    assert problem(schema, {"b": 7}) is not None


def test_endless_self_reference_never_breaks_the_turn() -> None:
    assert refusal_of_schema({"type": "object", "$ref": "#"})[0] == "invalid_function_parameters"
    circle = {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}
    assert problem(circle, {}) is None
    assert problem(circle, {"a": 1}) is not None


def test_arguments_too_deep_for_a_check_are_a_problem_and_no_crash() -> None:
    root: dict[str, Any] = {"name": "leaf"}
    for _ in range(5_000):
        root = {"name": "node", "children": [root]}
    assert problem(TREE, {"root": root}) is not None


CHOICES = [
    ("none", ToolChoice("none")),
    ("auto", ToolChoice("auto")),
    ("required", ToolChoice("required")),
    ({"type": "function", "function": {"name": "read"}}, ToolChoice("required", "read")),
    ({"type": "function", "function": {"name": "write"}, "x": 1}, ToolChoice("required", "write")),
]
BAD_CHOICES = [
    ("", "invalid_value", "tool_choice"),
    ("read", "invalid_value", "tool_choice"),
    (7, "invalid_type", "tool_choice"),
    ([], "invalid_type", "tool_choice"),
    (True, "invalid_type", "tool_choice"),
    ({}, "unsupported_value", "tool_choice.type"),
    ({"type": "custom", "custom": {"name": "read"}}, "unsupported_value", "tool_choice.type"),
    ({"type": "function"}, "missing_required_parameter", "tool_choice.name"),
    ({"type": "tool"}, "missing_required_parameter", "tool_choice.name"),
    ({"type": "tool", "name": "erase"}, "invalid_value", "tool_choice"),
    ({"type": "function", "function": "read"}, "missing_required_parameter", "tool_choice.function.name"),
    ({"type": "function", "function": {"name": 7}}, "missing_required_parameter", "tool_choice.function.name"),
    ({"type": "function", "function": {"name": "erase"}}, "invalid_value", "tool_choice"),
]
TOOLS = read([function("read"), function("write")])


@pytest.mark.parametrize(("value", "choice"), CHOICES)
def test_a_choice_of_tools_is_read(value: Any, choice: ToolChoice) -> None:
    assert read_tool_choice(value, TOOLS) == choice


def allowed(*names: str, **more: Any) -> dict[str, Any]:
    listed = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"tools": listed, **more}}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_choice_of_allowed_tools_leaves_only_those(mode: Literal["auto", "required"]) -> None:
    tools = [function("read"), function("write"), function("erase")]
    left, choice = read_choice(allowed("erase", "read", mode=mode), read_tools(tools, Budget()))
    assert [tool.name for tool in offered_tools(left, choice)] == ["read", "erase"]
    assert choice == ToolChoice(mode)


@pytest.mark.parametrize(
    ("value", "code", "place"),
    [
        ({"type": "allowed_tools", "allowed_tools": []}, "invalid_type", ""),
        ({"type": "allowed_tools", "allowed_tools": {}}, "invalid_type", ".tools"),
        (allowed("read"), "missing_required_parameter", ".mode"),
        (allowed("read", mode="none"), "invalid_value", ".mode"),
        (allowed(mode="auto"), "invalid_value", ".tools"),
        (allowed("read", "none", mode="auto"), "invalid_value", ".tools[1]"),
        (allowed("read", mode="auto", tools=[{"name": "write"}]), "invalid_value", ".tools[0]"),
    ],
)
def test_malformed_allowed_tools_are_refused_at_their_exact_place(value: Any, code: str, place: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_choice(value, read_tools([function("read")], Budget()))
    assert (raised.value.code, raised.value.param) == (code, f"tool_choice.allowed_tools{place}")


@pytest.mark.parametrize(("value", "code", "param"), BAD_CHOICES)
def test_a_malformed_choice_is_refused_at_its_exact_place(value: Any, code: str, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_tool_choice(value, TOOLS)
    assert (raised.value.code, raised.value.param) == (code, param)


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("any", ToolChoice("required")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "required"}, ToolChoice("required")),
        ({"type": "tool", "name": "read"}, ToolChoice("required", "read")),
        ({"type": "function", "name": "read"}, ToolChoice("required", "read")),
        ({"type": "tool", "function": {"name": "read"}}, ToolChoice("required", "read")),
    ],
)
def test_a_choice_is_taken_in_the_form_of_either_api(value: Any, choice: ToolChoice) -> None:
    assert read_tool_choice(value, TOOLS) == choice


def test_allowed_tools_are_taken_in_the_form_of_either_api() -> None:
    flat = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "read"}]}
    assert read_choice(flat, TOOLS) == read_choice(allowed("read", mode="auto"), TOOLS)


@pytest.mark.parametrize(
    ("fields", "allows"),
    [
        ({}, True),
        ({"parallel_tool_calls": False}, False),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, False),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": False}}, True),
        ({"tool_choice": "auto", "parallel_tool_calls": True}, True),
    ],
)
def test_tool_choice_in_claudes_form_sets_parallel_calls(fields: Any, allows: bool) -> None:
    assert allows_parallel_calls(fields) == allows


def test_without_tools_none_can_be_demanded() -> None:
    assert read_tool_choice("auto", ()) == ToolChoice("auto")
    assert read_tool_choice("none", ()) == ToolChoice("none")
    for value in ("required", {"type": "function", "function": {"name": "read"}}):
        with pytest.raises(BadRequest) as raised:
            read_tool_choice(value, ())
        assert (raised.value.code, raised.value.param) == ("invalid_value", "tool_choice")


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (ToolChoice("auto"), ["read", "write"]),
        (ToolChoice("required"), ["read", "write"]),
        (ToolChoice("required", "write"), ["write"]),
        (ToolChoice("none"), []),
    ],
)
def test_claude_sees_only_what_the_choice_allows(choice: ToolChoice, names: list[str]) -> None:
    assert [tool.name for tool in offered_tools(TOOLS, choice)] == names


@pytest.mark.parametrize("name", ["erase", "Read", "", "mcp__openai__read"])
def test_a_call_of_an_unknown_tool_is_a_problem_that_names_it(name: str) -> None:
    found = checking(TOOLS).problem(name, {})
    assert found is not None
    assert repr(name) in found
    assert checking(()).problem(name, {}) == found


@pytest.mark.parametrize("arguments", [None, [], [1], "", "{}", 7, True])
def test_arguments_that_are_no_object_are_a_problem(arguments: object) -> None:
    assert problem({}, arguments) == "The arguments must be a JSON object."


@pytest.mark.parametrize(
    ("schema", "arguments", "said"),
    [
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, ("$.a", "'string'")),
        ({"required": ["path"]}, {}, ("$", "'path' is a required property")),
        ({"additionalProperties": False}, {"extra": 1}, ("$", "'extra' was unexpected")),
        ({"properties": {"a": {"enum": ["x", "y"]}}}, {"a": "z"}, ("$.a", "'z' is not one of ['x', 'y']")),
        ({"properties": {"a": {"const": 3}}}, {"a": 4}, ("$.a", "3 was expected")),
        ({"properties": {"a": {"pattern": "^x"}}}, {"a": "y"}, ("$.a", "'y' does not match '^x'")),
        ({"properties": {"a": {"maxItems": 1}}}, {"a": [1, 2]}, ("$.a", "[1, 2] is too long")),
        (
            {"properties": {"a": {"items": {"properties": {"b": {"type": "integer"}}}}}},
            {"a": [{"b": 1}, {"b": "two"}]},
            ("$.a[1].b", "'two' is not of type 'integer'"),
        ),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"c": 1}, ("$", "not valid under any")),
        ({"not": {"required": ["a"]}}, {"a": 1}, ("$", "should not be valid")),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, ("$", "'b' is a dependency of 'a'")),
    ],
)
def test_a_problem_names_the_place_and_what_is_wrong_there(
    schema: dict[str, Any], arguments: dict[str, Any], said: tuple[str, str]
) -> None:
    found = problem({"type": "object", **schema}, arguments)
    assert found is not None
    place, words = said
    assert f"{place}: " in found
    assert words in found


def test_only_the_first_problems_are_listed_and_each_is_short() -> None:
    schema = {"type": "object", "properties": {name: {"type": "integer"} for name in "abcdef"}}
    found = problem(schema, dict.fromkeys("abcdef", "x" * 10_000))
    assert found is not None
    assert len(found) < 1_200
    assert [place for place in "abcdef" if f"$.{place}: " in found] == ["a", "b", "c"]


def test_an_integer_may_be_spelled_with_a_point() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert problem(schema, {"a": 3.0}) is None
    assert problem(schema, {"a": True}) is not None


VALUES: list[tuple[dict[str, Any], st.SearchStrategy[Any]]] = [
    ({"type": "string"}, st.text()),
    ({"type": "string", "maxLength": 4}, st.text(max_size=4)),
    ({"type": "integer", "minimum": -3, "maximum": 3}, st.integers(-3, 3)),
    ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False) | st.integers()),
    ({"type": "boolean"}, st.booleans()),
    ({"enum": ["red", 7, None]}, st.sampled_from(["red", 7, None])),
    ({"type": ["string", "null"]}, st.none() | st.text()),
    ({"type": "array", "items": {"type": "boolean"}, "maxItems": 3}, st.lists(st.booleans(), max_size=3)),
    ({"$ref": "#/$defs/colour"}, st.sampled_from(["red", "green"])),
]
DEFS = {"colour": {"enum": ["red", "green"]}}


@st.composite
def schemas_with_arguments(draw: st.DrawFn, depth: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object schema, and arguments that fit it."""
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    arguments: dict[str, Any] = {}
    for name in draw(st.lists(st.text(max_size=5), unique=True, max_size=4)):
        if depth and draw(st.booleans()):
            schema["properties"][name], value = draw(schemas_with_arguments(depth=depth - 1))
        else:
            schema["properties"][name], values = draw(st.sampled_from(VALUES))
            value = draw(values)
        required = draw(st.booleans())
        schema["required"] += [name] if required else []
        if required or draw(st.booleans()):
            arguments[name] = value
    return schema, arguments


@given(schemas_with_arguments(), st.sampled_from([None, DRAFT_2020_12, DRAFT_07]))
def test_arguments_that_fit_are_no_problem_and_each_required_one_that_is_missing_is(
    pair: tuple[dict[str, Any], dict[str, Any]], uri: str | None
) -> None:
    schema, arguments = pair
    schema = {**schema, "$defs": DEFS, **({} if uri is None else {"$schema": uri})}
    (tool,) = read([function(parameters=schema)])
    checker = checking([tool])
    assert checker.problem("read", arguments) is None
    for name in schema["required"]:
        without = {key: value for key, value in arguments.items() if key != name}
        found = checker.problem("read", without)
        assert found is not None
        assert "is a required property" in found
    unknown = "".join(schema["properties"]) + "?"
    assert checker.problem("read", {**arguments, unknown: 1}) is not None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
KEYWORDS = ["properties", "items", "enum", "type", "required", "pattern", "not", "anyOf", "$defs", "$id", "$schema",
            "$ref", "$dynamicRef", "$anchor", "additionalProperties", "minimum", "unevaluatedProperties"]  # fmt: skip
WORDS = ["object", "string", "#", "#a", "#/$defs/a", "http://127.0.0.1:9/", "(", "[", DRAFT_07, DRAFT_2020_12]
ALMOST_SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-2, 2) | st.sampled_from(WORDS),
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYWORDS), ALMOST_SCHEMAS, max_size=4), JSON)
def test_every_schema_is_refused_or_can_check_any_arguments(schema: dict[str, Any], arguments: Any) -> None:
    with suppress(BadRequest):
        tools: tuple[Tool, ...] = read([function(parameters=schema)])
        found = checking(tools).problem("read", arguments)
        assert found is None or found.startswith("The arguments ")


def test_a_pattern_of_unicode_letters_is_checked_though_python_itself_does_not_know_it() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": r"^\p{L}+$"}}, "required": ["a"]}
    assert problem(schema, {"a": "x"}) is None
    assert problem(schema, {"a": "1"}) is not None
    assert problem(schema, {}) is not None


@pytest.mark.parametrize("pattern", ["(?P<1>x", "["])
def test_a_pattern_that_cannot_be_read_is_not_checked_and_breaks_nothing(pattern: str) -> None:
    properties = {"properties": {"a": {"type": "string", "pattern": pattern}}, "required": ["a"]}
    assert problem({"type": "object", **properties}, {"a": "x"}) is None
    assert problem({"type": "object", **properties}, {}) is not None
    named = {"type": "object", "patternProperties": {pattern: {"type": "integer"}}, "additionalProperties": False}
    assert problem(named, {"a": "x"}) is None


def test_properties_by_pattern_are_checked_and_all_others_are_additional() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "patternProperties": {"^x-": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
    }
    assert problem(schema, {"a": 1, "x-b": 2, "other": "text"}) is None
    for wrong in ({"a": "1"}, {"x-b": "2"}, {"other": 3}):
        assert problem(schema, wrong) is not None
    strict = {**schema, "additionalProperties": False}
    assert problem(strict, {"a": 1, "x-b": 2}) is None
    assert "'other' was unexpected" in (problem(strict, {"other": 1}) or "")
    assert "'other', 'more' were unexpected" in (problem(strict, {"other": 1, "more": 1}) or "")


def doubling(levels: int) -> dict[str, Any]:
    """A schema of a few lines that asks for 2 ** `levels` checks."""
    below = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {**below, f"l{levels}": {"type": ["object", "integer"]}}


def test_a_schema_that_takes_too_long_is_refused() -> None:
    schema = {"type": "object", "$defs": doubling(40), "$ref": "#/$defs/l0"}
    assert refusal_of_schema(schema) == ("invalid_function_parameters", "tools[0].function.parameters")


def test_arguments_that_would_take_too_long_to_check_are_a_problem_and_nothing_waits() -> None:
    schema = {"type": "object", "$defs": doubling(40), "properties": {"a": {"$ref": "#/$defs/l0"}}}
    assert problem(schema, {}) is None
    assert "takes more than 1000000 steps" in (problem(schema, {"a": 1}) or "")
    assert problem(schema, {}) is None  # the next check has all its steps


def test_pattern_that_takes_too_long_is_abandoned() -> None:
    schema = {"type": "object", "properties": {"a": {"pattern": "^(x|x?)+$"}, "b": {"type": "integer"}}}
    assert problem(schema, {"a": "x" * 5000 + "y"}) is None
    assert problem(schema, {"a": "x" * 5000 + "y", "b": "1"}) is not None


@pytest.mark.parametrize(
    ("step", "value", "fits"),
    [(0.1, 0.3, True), (0.01, 19.99, True), (0.1, 0.35, False), (2, 4, True), (2, 5, False), (1e-300, 1e300, True)],
)
def test_multiples_are_counted_by_their_digits(step: float, value: float, fits: bool) -> None:
    schema = {"type": "object", "properties": {"price": {"multipleOf": step}}}
    assert (problem(schema, {"price": value}) is None) is fits


def at_depth(depth: int, call: Callable[[], Any]) -> Any:
    return call() if depth == 0 else at_depth(depth - 1, call)


def test_a_schema_without_end_is_a_fault_of_it_wherever_the_recursion_is_noticed() -> None:
    endless = {"not": {"$ref": "#there"}, "$defs": {"a": {"$anchor": "there", "not": {"$ref": "#there"}}}}
    nested: dict[str, Any] = {}
    for _ in range(120):
        nested = {"properties": {"a": nested}}
    for depth in range(30):
        for schema in (endless, nested):
            # Another text each time, since what was found of one is kept.
            text = json.dumps({**schema, "description": str(depth)})
            with pytest.raises(UnusableSchema):
                at_depth(depth, partial(usable_schema, text, Budget()))
    looped = usable_schema(json.dumps({"properties": {"a": endless}, "$defs": endless["$defs"]}), Budget())
    for depth in range(30):
        assert at_depth(depth, partial(looped.problem, {"a": 1}, Budget())) is not None
