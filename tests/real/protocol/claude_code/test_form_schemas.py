"""Whatever schema is taken for the form of an answer, Claude Code asks Claude for it, and pays for one call."""

from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.response_format import read_response_format
from claude_openai.testing import Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, serving
from tests.schemas import Schema, object_schemas

pytestmark = needs_claude

NUMBER = {"type": "integer"}
SCHEMAS: dict[str, Schema] = {
    "components": {"properties": {"a": {"$ref": "#/components/schemas/N"}}, "components": {"schemas": {"N": NUMBER}}},
    "prefix items": {
        "properties": {"a": {"$ref": "#/$defs/t/prefixItems/0"}},
        "$defs": {"t": {"prefixItems": [NUMBER]}},
    },
    "anchor": {"properties": {"a": {"$ref": "#n"}}, "$defs": {"N": {"$anchor": "n", **NUMBER}}},
    "id": {"properties": {"a": {"$ref": "https://e.org/n"}}, "$defs": {"N": {"$id": "https://e.org/n", **NUMBER}}},
    "twice in enum": {"properties": {"a": {"enum": [1, 1.0, 1]}}},
    "empty enum": {"properties": {"b": {"enum": []}}},
    "if alone": {"properties": {"a": {"if": NUMBER}}},
    "then alone": {"properties": {"a": {"then": NUMBER}}},
    "draft 4": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"minimum": 0, "exclusiveMinimum": True}},
    },
    "a tree": {"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {"b": {"$ref": "#/$defs/N"}}}}},
}


def form(schema: Schema) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


def drawn(count: int) -> list[Schema]:
    """Schemas that are taken, the same in each run."""
    found: list[Schema] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(object_schemas())
    def draw(schema: Schema) -> None:
        try:
            read_response_format(form(schema), Budget())
        except BadRequest:
            return
        found.append(schema)

    draw()
    return sorted(found, key=lambda schema: -len(str(schema)))[:10]


@pytest.mark.long
@pytest.mark.parametrize("are_drawn", [False, True], ids=["known to be odd", "drawn"])
async def test_claude_is_asked_for_the_form_in_one_call_whatever_its_schema(tmp_path: Path, are_drawn: bool) -> None:
    schemas = {f"drawn {index}.": schema for index, schema in enumerate(drawn(60))} if are_drawn else SCHEMAS
    answers: dict[str, dict[str, Any]] = {}

    async def ask(served: Served, name: str) -> None:
        async with Call.open(served.url, chat(f"<{name}>", response_format=form(schemas[name]))) as call:
            answers[name] = (await call.answer())[1]

    reply = Reply(ToolUse("StructuredOutput", {"a": 1}, "toolu_1"))
    async with serving(tmp_path, reply, max_concurrency=2) as served, trio.open_nursery() as nursery:
        for name in schemas:
            nursery.start_soon(ask, served, name)
    asked = [(str(request.messages[0]["content"]), request.tools) for request in served.api.requests]
    for name in schemas:
        tools = [tools for prompt, tools in asked if f"<{name}>" in prompt]
        assert tools[0] == ["StructuredOutput"], name
        if not are_drawn:  # to some of those that were drawn no answer fits
            assert answers[name]["choices"][0]["message"]["content"] == '{"a": 1}', name
            assert len(tools) == 1, name


async def test_a_form_that_refers_to_itself_without_end_costs_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        body = chat("Hi", response_format=form({"properties": {"a": {"$ref": "#/properties/a"}}}))
        async with Call.open(served.url, body) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["param"]) == (400, "response_format.json_schema.schema")
        assert not served.api.requests
