"""Codex, with the configuration that `connect` writes and its own tools, in a project of its own.

It speaks the Responses API and nothing else, and streams.
"""

import json
from pathlib import Path

from cases import (
    BREAK_OFF_ONCE,
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    SAID,
    SLOW_DOWN_ONCE,
    SLOWLY,
    TOO_LONG,
    Conversation,
    Heard,
    calls_to_claude,
    connect,
    json_lines,
    run,
    run_program,
)

PROJECT = Path.cwd() / "project"
HOME = {"CODEX_HOME": str(Path.cwd() / "codex")}
PROVIDER = "claude-openai"
FORM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["name", "population"],
    "additionalProperties": False,
}


def codex(*arguments, model=MODEL):
    """What it has done, item by item, and its exit code."""
    ours = ("-c", f"model_provider={PROVIDER}", "-m", model)
    leave = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    done = run_program("codex", "exec", "--json", *ours, *leave, *arguments, cwd=PROJECT, **HOME)
    return json_lines(done.stdout), done.returncode


def items(events, kind):
    done = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in done if item["type"] == kind]


def last_words(events):
    return items(events, "agent_message")[-1]["text"]


def responses_stream():
    # `exec` shows whole messages; what it is for editors tells each piece.
    heard = Heard()
    with Conversation("codex", "app-server", cwd=PROJECT, **HOME) as own:
        own.call("initialize", {"clientInfo": {"name": "tests", "title": None, "version": "1"}})
        own.tell({"method": "initialized"})
        thread = own.call("thread/start", {"model": MODEL, "modelProvider": PROVIDER})["thread"]["id"]
        own.call("turn/start", {"threadId": thread, "input": [{"type": "text", "text": SLOWLY, "text_elements": []}]})
        while (message := own.next())["method"] != "turn/completed":
            if message["method"] == "item/agentMessage/delta":
                heard.add(message["params"]["delta"])
    assert heard == CHUNKS


def responses_stream_tools():
    events, code = codex("Run `echo sunshine` and `echo rainfall`.")
    assert code == 0, events
    assert [item["exit_code"] for item in items(events, "command_execution")] == [0, 0]
    said = last_words(events)
    assert 0 < said.index("sunshine") < said.index("rainfall"), said


def responses_stream_structured():
    form = PROJECT / "form.json"
    form.write_text(json.dumps(FORM))
    events, code = codex(DESCRIBE, "--output-schema", str(form))
    assert code == 0, events
    assert json.loads(last_words(events)) == {"name": "Paris", "population": POPULATION}


def responses_follow_up():
    with calls_to_claude(HELLO, 1):
        events, code = codex("resume", "--last", HELLO)
    assert (code, last_words(events)) == (0, SAID), events


def responses_error():
    for prompt, model, said in (
        (HELLO, NO_MODEL, f"The model '{NO_MODEL}' does not exist"),
        (TOO_LONG, MODEL, "Codex ran out of room in the model's context window"),
    ):
        events, code = codex(prompt, model=model)
        assert code == 1, events
        assert said in events[-1]["error"]["message"], events
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        events, code = codex(SLOW_DOWN_ONCE)
    assert (code, last_words(events)) == (0, SAID), events


def responses_error_in_a_stream():
    # Were it to ask again, it would get an answer.
    with calls_to_claude(BREAK_OFF_ONCE, 1):
        events, code = codex(BREAK_OFF_ONCE)
    assert code == 1, events
    assert "Claude broke off its answer" in events[-1]["error"]["message"], events


PROJECT.mkdir()
connect("codex", **HOME)
run(responses_stream, responses_stream_tools, responses_stream_structured, responses_follow_up)
run(responses_error, responses_error_in_a_stream)
