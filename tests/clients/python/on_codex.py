"""Codex, with its own tools, in a project of its own. It speaks the Responses API and nothing else, and streams."""

import json
from pathlib import Path

from cases import DESCRIBE, HELLO, MODEL, NO_MODEL, POPULATION, SAID, URL, json_lines, responses, run, run_program

PROJECT, HOME = Path.cwd() / "project", Path.cwd() / "codex"
CONFIG = f"""
model = "{MODEL}"
model_provider = "claude"
check_for_update_on_startup = false

[model_providers.claude]
name = "Claude Code"
base_url = "{URL}"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""
FORM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["name", "population"],
    "additionalProperties": False,
}


def codex(prompt, *arguments):
    """What it has done, item by item, and its exit code."""
    leave = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    done = run_program("codex", "exec", "--json", *leave, *arguments, prompt, cwd=PROJECT, CODEX_HOME=str(HOME))
    return json_lines(done.stdout), done.returncode


def items(events, kind):
    done = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in done if item["type"] == kind]


def last_words(events):
    return items(events, "agent_message")[-1]["text"]


@responses
def stream():
    events, code = codex(HELLO)
    assert (code, last_words(events)) == (0, SAID), events


@responses
def tools():
    events, code = codex("Run `echo sunshine` and `echo rainfall`.")
    assert code == 0, events
    assert [item["exit_code"] for item in items(events, "command_execution")] == [0, 0]
    said = last_words(events)
    assert 0 < said.index("sunshine") < said.index("rainfall"), said


@responses
def structured():
    form = PROJECT / "form.json"
    form.write_text(json.dumps(FORM))
    events, code = codex(DESCRIBE, "--output-schema", str(form))
    assert code == 0, events
    assert json.loads(last_words(events)) == {"name": "Paris", "population": POPULATION}


@responses
def error():
    events, code = codex(HELLO, "--model", NO_MODEL)
    assert code == 1, events
    assert NO_MODEL in json.dumps(events)


PROJECT.mkdir()
HOME.mkdir()
(HOME / "config.toml").write_text(CONFIG)
run(stream, tools, structured, error)
