"""What the stand-in refuses as the Messages API does, and what it lets pass."""

from collections.abc import Sequence
from typing import Any

import pytest

from claude_openai.standin.validation import problem_of

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}
NOTE = {"role": "system", "content": "Today's date is 2026-01-01."}

EFFORT = {"role": "system", "content": [], "output_config": {"effort": "low"}}


def use(call: str = "toolu_1", name: str = "mcp__openai__read") -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": name, "input": {}}


def result(call: str = "toolu_1", content: Any = "A") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": content}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def said(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


ACCEPTED: dict[str, Sequence[dict[str, Any]]] = {
    "a question": [USER],
    "notes of the system after the user's messages": [USER, NOTE, ANSWER, USER, USER, NOTE],
    "another effort anywhere": [EFFORT, USER, NOTE, EFFORT, ANSWER, EFFORT, USER, EFFORT, NOTE],
    "an answer that is to be continued": [USER, ANSWER],
    "an empty answer that is to be continued": [USER, said("assistant")],
    "adjacent messages of one role": [USER, USER, ANSWER, ANSWER, USER],
    "results in another order": [USER, said("assistant", use("a"), use("b")), said("user", result("b"), result("a"))],
    "results in adjacent messages": [
        *(USER, said("assistant", text("Let me see."), use("a"), use("b"))),
        *(said("user", result("a")), said("user", result("b"), text("Go on."))),
    ],
    "results that are nothing, or blank": [
        *(USER, said("assistant", use("a"), use("b"), use("c"))),
        said("user", result("a", []), result("b", ""), result("c", [text(" ")])),
    ],
    "whitespace at the end of an answer that others follow": [USER, said("assistant", text("Hello. ")), USER],
}
REFUSED: dict[str, tuple[str, Sequence[dict[str, Any]]]] = {
    "no message": ("at least one message", []),
    "the assistant first": ("first message", [ANSWER, USER]),
    "the system first": ("first message", [NOTE, USER]),
    "the system after an answer": ("must immediately follow a user turn", [USER, ANSWER, NOTE, USER]),
    "the system twice": ("must immediately follow a user turn", [USER, NOTE, NOTE]),
    "the system before the user": ("must precede an assistant turn", [USER, NOTE, USER]),
    "the system between a call and its result": (
        "must immediately follow a user turn",
        [USER, said("assistant", use()), NOTE, said("user", result())],
    ),
    "another role": ("role", [{"role": "tool", "content": "A"}]),
    "no content": ("content", [{"role": "user"}]),
    "a block without a type": ("type: Field required", [said("user", {"text": "Hi"})]),
    "an empty content": ("non-empty content", [said("user")]),
    "an empty string": ("non-empty content", [{"role": "user", "content": ""}]),
    "an empty note of the system": ("non-empty content", [USER, said("system")]),
    "an empty answer before others": ("non-empty content", [USER, said("assistant"), USER]),
    "an empty text": ("must be non-empty", [said("user", text(""))]),
    "a blank text": ("non-whitespace", [USER, said("assistant", text("\n")), USER]),
    "a blank string": ("non-whitespace", [{"role": "user", "content": " "}]),
    "an empty text in a result": (
        "must be non-empty",
        [USER, said("assistant", use()), said("user", result(content=[text("")]))],
    ),
    "an id twice in one message": (
        "ids must be unique",
        [USER, said("assistant", use(), use()), said("user", result())],
    ),
    "an id twice in a conversation": (
        "ids must be unique",
        [*[USER, said("assistant", use()), said("user", result())] * 2],
    ),
    "a result of nothing": ("unexpected `tool_use_id`", [USER, ANSWER, said("user", result())]),
    "a result that comes too late": (
        "unexpected `tool_use_id`",
        [USER, said("assistant", use()), said("user", result()), ANSWER, said("user", result())],
    ),
    "a result too many": (
        "unexpected `tool_use_id`",
        [USER, said("assistant", use()), said("user", result(), result("b"))],
    ),
    "two results of one call": ("single result", [USER, said("assistant", use()), said("user", result(), result())]),
    "a call without a result": ("without `tool_result`", [USER, said("assistant", use()), USER]),
    "a call with another's result": (
        "without `tool_result`",
        [USER, said("assistant", use("a"), use("b")), said("user", result("a"))],
    ),
    "a call at the end": ("without `tool_result`", [USER, said("assistant", use())]),
    "a text after a call": (
        "without `tool_result`",
        [USER, said("assistant", use(), text("So.")), said("user", result())],
    ),
    "a text before a result": (
        "must come first",
        [USER, said("assistant", use()), said("user", text("Here:"), result())],
    ),
    "a call of the user's": ("can only be in `assistant`", [said("user", use())]),
    "a result of the assistant's": ("can only be in `user`", [USER, said("assistant", result())]),
    "an id that is none": (
        "tool_use.id: String should match",
        [USER, said("assistant", use("call|1")), said("user", result("call|1"))],
    ),
    "the name of a tool that is none": (
        "tool_use.name: String should match",
        [USER, said("assistant", use(name="a.b")), said("user", result())],
    ),
    "arguments that are no object": (
        "valid dictionary",
        [USER, said("assistant", {**use(), "input": "{}"}), said("user", result())],
    ),
    "a last answer that ends in whitespace": ("trailing whitespace", [USER, said("assistant", text("Hello. "))]),
}


@pytest.mark.parametrize("messages", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_the_api_takes_passes(messages: Sequence[dict[str, Any]]) -> None:
    assert problem_of({"messages": messages}) is None


@pytest.mark.parametrize(("words", "messages"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_api_refuses_is_named(words: str, messages: Sequence[dict[str, Any]]) -> None:
    assert words in str(problem_of({"messages": messages}))


@pytest.mark.parametrize("body", [{}, {"messages": "Hi"}, {"messages": [None]}, {"messages": [{"role": ["user"]}]}])
def test_a_body_without_messages_is_refused(body: dict[str, Any]) -> None:
    assert "messages" in str(problem_of(body))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["read", "mcp__openai__list-files_2", "a" * 128], None),
        (["read", "write", "read"], "must be unique"),
        (["a" * 129], "should match pattern"),
        (["a.b"], "should match pattern"),
        ([""], "should match pattern"),
    ],
)
def test_tools_have_names_of_their_own_in_the_letters_of_the_api(names: list[str], words: str | None) -> None:
    schema = {"type": "object"}
    problem = problem_of({"messages": [USER], "tools": [{"name": name, "input_schema": schema} for name in names]})
    assert problem is None if words is None else words in str(problem)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object", "properties": {"a": {"anyOf": [{}]}}}, None),
        ({"type": "object", "properties": {"a": {"anyOf": []}}}, "draft 2020-12"),
        ({"type": "object", "properties": {"a": {"items": [{}]}}}, "draft 2020-12"),
        ({}, "Input should be 'object'"),
        (None, "Input should be 'object'"),
        ({"type": "object", "anyOf": []}, "at the top level"),
    ],
)
def test_a_tool_takes_a_valid_object_without_alternatives_at_the_top(schema: Any, words: str | None) -> None:
    problem = problem_of({"messages": [USER], "tools": [{"name": "read", "input_schema": schema}]})
    assert (problem is None) if words is None else (problem is not None and words in problem)
