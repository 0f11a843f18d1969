"""Cline's command line, with its provider of Claude's API and its own tools, in a project of its own. It streams.

Cline offers the web search of Claude's API unless its settings turn that off.
"""

import json
import os
from pathlib import Path

from cases import (
    BREAK_OFF_ONCE,
    HELLO,
    MODEL,
    NO_MODEL,
    RESTART,
    RESTARTED,
    SAID,
    SLOW_DOWN_ONCE,
    SLOWLY,
    URL,
    calls_to_claude,
    json_lines,
    run,
    run_program,
    sent_to_claude,
)

PROJECT = Path.cwd() / "project"
SETTINGS = Path(os.environ["HOME"]) / ".cline" / "data" / "settings"
GLOBAL = {"telemetryOptOut": True, "autoUpdateEnabled": False, "tools": {"web_search": {"enabled": False}}}
# No process of its own remains in the background.
ENV = {"CLINE_SESSION_BACKEND_MODE": "local"}


def cline(prompt, model=MODEL, **options):
    """What it does, event by event, and its exit code."""
    done = run_program("cline", "--json", "--model", model, prompt, cwd=PROJECT, **options, **ENV)
    return json_lines(done.stdout), done.returncode


def last_words(events):
    (result,) = [event for event in events if event["type"] == "run_result"]
    return result["text"]


def messages_stream():
    events, code = cline(SLOWLY, slowly=True)
    assert (code, last_words(events)) == (0, SAID), events


def messages_stream_tools():
    events, code = cline("Run `echo sunshine` and `echo rainfall` now")
    assert code == 0, events
    said = last_words(events)
    assert 0 < said.index("sunshine") < said.index("rainfall"), said


def restart_in_a_tool_loop():
    prompt = f"Run `{RESTART}` now"
    events, code = cline(prompt)
    assert code == 0, events
    assert RESTARTED in last_words(events)
    (user, (asked,)), answer, (role, (given,)) = sent_to_claude(RESTARTED)["messages"]
    assert (user, role, list(given)) == ("user", "user", ["result"])
    assert prompt in asked, asked
    assert answer == ["assistant", ["Let me see.", {"call": "run_commands"}]]


def messages_error():
    events, code = cline(HELLO, NO_MODEL)
    assert code == 1, events
    assert NO_MODEL in last_words(events)
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        events, code = cline(SLOW_DOWN_ONCE)
    assert (code, last_words(events)) == (0, SAID), events


def messages_error_in_a_stream():
    # Were it to ask again, it would get an answer.
    with calls_to_claude(BREAK_OFF_ONCE, 1):
        events, code = cline(BREAK_OFF_ONCE)
    assert code == 1, events
    assert "Claude broke off its answer" in last_words(events), events


PROJECT.mkdir()
SETTINGS.mkdir(parents=True)
(SETTINGS / "global-settings.json").write_text(json.dumps(GLOBAL))
OWN = {"provider": "anthropic", "apiKey": "none", "model": MODEL, "baseUrl": URL}
PROVIDERS = {"anthropic": {"settings": OWN, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}}
(SETTINGS / "providers.json").write_text(
    json.dumps({"version": 1, "lastUsedProvider": "anthropic", "modes": {}, "providers": PROVIDERS})
)
run(messages_stream, messages_stream_tools, restart_in_a_tool_loop, messages_error, messages_error_in_a_stream)
