"""The server as its OpenAPI document says it is, to a program that tries to prove it wrong.

Schemathesis makes requests of the document, right and wrong ones, against the real server; turns are scripted. It is
large, so it has an environment of its own, and SCHEMATHESIS names its program, or it is on PATH as `st`:

    python3 -m venv /tmp/st && /tmp/st/bin/pip install schemathesis openapi-spec-validator
    SCHEMATHESIS=/tmp/st/bin/st pytest tests/real/web/test_openapi.py
"""

import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from claude_openai import Config, serve
from claude_openai.errors import ContextTooLong, RateLimited
from claude_openai.protocol.turn.events import ReasoningDelta, ToolCall, TurnFailed
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.web.openapi import openapi_document
from tests.conditions import SCHEMATHESIS, VALIDATOR, needs
from tests.scripted_backend import ScriptedBackend, TurnStep, full_turn

KEY: Final = "a-key"
LIMIT_S: Final = 400.0
# That all it sends is accepted is checked of narrower requests: the document does not have the form of each tool.
CHECKS: Final = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,allow_header_conformance,ignored_auth,negative_data_rejection"
)
ACCEPTED: Final = f"{CHECKS},positive_data_acceptance"
ANSWERS: Final[tuple[Sequence[TurnStep], ...]] = (
    full_turn("ok"),
    full_turn(ReasoningDelta("hm"), "Let me look.", ToolCall("toolu_1", "look", "{}"), finish_reason="tool_calls"),
    full_turn("ok", finish_reason="length"),
)
FAILURES: Final[tuple[Sequence[TurnStep], ...]] = (
    (TurnFailed(ContextTooLong("prompt is too long", param="messages")),),
    (TurnFailed(RateLimited("later", retry_after_s=1)),),
)

# Fields whose forms the document leaves open, and that end most requests with a 400.
LEFT_OPEN: Final = (
    *("tools", "functions", "tool_choice", "function_call", "response_format", "text", "claude"),
    *("output_config", "output_format", "background", "web_search_options"),
)

pytestmark = needs("schemathesis")


@asynccontextmanager
async def scripted(folder: Path, *scripts: Sequence[TurnStep]) -> AsyncIterator[str]:
    """The server without Claude, and with all its routes: its base URL."""
    order = itertools.cycle(scripts)

    def script(_: TurnRequest) -> Sequence[TurnStep]:
        return next(order)

    config = Config(port=0, api_key=KEY, log_file=folder / "server.log", output_dir=folder / "output")
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, config, backend=ScriptedBackend(script)))
            yield url
            nursery.cancel_scope.cancel()


async def schemathesis(folder: Path, url: str, document: dict[str, Any], checks: str, *more: str) -> None:
    """Run it on a document, against the server."""
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    done = await trio.run_process(
        [
            *(str(SCHEMATHESIS), "run", str(path), "--url", url, "--header", f"Authorization: Bearer {KEY}"),
            *("--checks", checks, "--continue-on-failure", "--warnings", "off", "--no-color", *more),
        ],
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    errors = [line for line in (folder / "server.log").read_text().splitlines() if '"level":"error"' in line]
    assert not errors


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """Only requests that reach a turn, most of them: names and messages that the server takes."""
    schemas = document["components"]["schemas"]
    word = {"type": "string", "pattern": r"^\w+$"}
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"const": "user"}, "content": word},
        "additionalProperties": False,
    }
    for name, field, given in (
        ("ChatCompletionRequest", "messages", {"type": "array", "minItems": 1, "items": message}),
        ("CompletionRequest", "prompt", word),
        ("ResponseRequest", "input", word),
        ("MessagesRequest", "messages", {"type": "array", "minItems": 1, "items": message}),
    ):
        properties = schemas[name]["properties"]
        for left_open in LEFT_OPEN:
            properties.pop(left_open, None)
        schemas[name]["additionalProperties"] = False
        properties |= {"model": {"const": "claude-sonnet"}, field: given}
    for path in document["paths"].values():
        for operation in path.values():  # without idempotency keys, which one request after another would use again
            operation["parameters"] = [each for each in operation["parameters"] if each["in"] != "header"]
    return document


async def test_server_conforms_to_its_openapi_document(tmp_path: Path) -> None:
    document = openapi_document(has_key=True, has_control=True)
    async with scripted(tmp_path, *ANSWERS, *FAILURES) as url:
        await schemathesis(tmp_path, url, document, CHECKS, "--max-examples", "30")


async def test_what_the_document_allows_is_answered(tmp_path: Path) -> None:
    document = narrowed(openapi_document(has_key=True, has_control=True))
    async with scripted(tmp_path, *ANSWERS) as url:
        more = ["--include-path-regex", "^/v1/(chat|completions|responses|messages$)", "--phases", "coverage,fuzzing"]
        await schemathesis(tmp_path, url, document, ACCEPTED, *more, "--max-examples", "100", "--mode", "positive")
    records = map(json.loads, (tmp_path / "server.log").read_text().splitlines())
    statuses = [record["status"] for record in records if record["event"] == "http.request"]
    assert statuses.count(200) > len(statuses) / 2


@needs("openapi-spec-validator")
async def test_the_document_is_valid_openapi(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(openapi_document(has_key=True, has_control=True)))
    await trio.run_process([str(VALIDATOR), str(path)])
