"""The OpenAPI document: sound in itself, and about the app as it is."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator

from claude_openai.config import Config
from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.completions.fields import COMPLETIONS_FIELDS
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.wire.claude_options import read_claude_options
from claude_openai.runs.admission import Admission
from claude_openai.runs.registry import RunLimits, Runs
from claude_openai.web.app import build_app
from claude_openai.web.http.exchange import route_of
from claude_openai.web.openapi import openapi_document
from claude_openai.web.page import is_of_page
from claude_openai.web.status import OPEN_PATHS
from tests.scripted_backend import ScriptedBackend

FULL = openapi_document(has_key=True, has_control=True)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


@pytest.mark.parametrize("config", [Config(), Config(api_key="k"), Config(control_key="k")])
async def test_every_route_of_the_app_is_in_it_and_no_other_is(config: Config) -> None:
    runs = Runs(ScriptedBackend(), Admission(1, 1), RunLimits(1, 0, 1))
    rules = build_app(config, runs, NULL_LOG).url_map.iter_rules()
    routes = {(route_of(r.rule), m.lower()) for r in rules for m in (r.methods or set()) - {"HEAD", "OPTIONS"}}
    document = openapi_document(
        has_key=config.api_key is not None, has_control=bool(config.api_key or config.control_key)
    )
    assert {(path, method) for path, method, _ in operations(document)} == routes
    await trio.lowlevel.checkpoint()


def test_it_is_plain_json_and_every_reference_leads_somewhere() -> None:
    text = json.dumps(FULL)
    assert json.loads(text) == FULL
    names = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text))
    assert text.count('"$ref"') == len(re.findall(r'"\$ref": "#/components/schemas/\w+"', text))
    assert names == FULL["components"]["schemas"].keys()


@pytest.mark.parametrize("name", FULL["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(FULL["components"]["schemas"][name])


def test_operations_have_names_of_their_own_and_all_that_the_standard_asks_for() -> None:
    found = list(operations(FULL))
    assert len({operation["operationId"] for _, _, operation in found}) == len(found)
    for path, _, operation in found:
        in_path = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path)
        assert {"200", "302"} & operation["responses"].keys()
        assert all(answer["description"] for answer in operation["responses"].values())


def test_openapi_document_says_which_routes_need_a_key() -> None:
    for path, _, operation in operations(FULL):
        is_open = path in OPEN_PATHS or is_of_page(path)
        keys: list[dict[str, Any]] = [{"key": []}] if path.startswith("/control/") else [{"key": []}, {"xApiKey": []}]
        assert operation["security"] == ([] if is_open else keys)
        assert ("401" in operation["responses"]) is (not is_open or path == "/dashboard/login")
    for path, _, operation in operations(openapi_document(has_key=False, has_control=True)):
        assert bool(operation["security"]) is path.startswith("/control/")


def test_the_fields_of_a_request_are_those_of_the_tables() -> None:
    schemas = FULL["components"]["schemas"]
    assert schemas["ChatCompletionRequest"]["properties"].keys() == FIELDS.keys()
    assert schemas["CompletionRequest"]["properties"].keys() == COMPLETIONS_FIELDS.keys()
    assert schemas["ResponseRequest"]["properties"].keys() == RESPONSES_FIELDS.keys()
    assert schemas["MessagesRequest"]["properties"].keys() == MESSAGES_FIELDS.keys()


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}]}, True),
        ({"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}], "audio": None, "top_p": None}, True),
        ({"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}], "claude": {"toolMode": "all"}}, True),
        ({"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}], "their_own": 1}, True),
        ({"model": "sonnet", "messages": []}, False),
        ({"model": "sonnet", "messages": [{"role": "king"}]}, False),
        ({"model": None, "messages": [{"role": "user", "content": "Hi"}]}, False),
        ({"model": "sonnet", "messages": [{"role": "user"}], "n": 2}, False),
        ({"model": "sonnet", "messages": [{"role": "user"}], "audio": {}}, False),
        ({"model": "sonnet", "messages": [{"role": "user"}], "claude": {"toolmode": "all"}}, False),
    ],
)
def test_a_request_fits_as_the_server_would_take_it(body: dict[str, Any], fits: bool) -> None:
    schema = {**FULL["components"]["schemas"]["ChatCompletionRequest"], "components": FULL["components"]}
    assert Draft202012Validator(schema).is_valid(body) is fits


def test_documented_keys_of_the_claude_object_are_read() -> None:
    for key, schema in FULL["components"]["schemas"]["Claude"]["properties"].items():
        for value in schema.get("enum", ()):
            read_claude_options({key: value})
        read_claude_options({key: None})
