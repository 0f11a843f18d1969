"""OpenCode, with its own tools, in a project of its own. It streams, and asks for no form."""

import json
import os
from pathlib import Path

from cases import HELLO, MODEL, NO_MODEL, SAID, URL, json_lines, run, run_program

PROJECT = Path.cwd() / "project"
CONFIG = {
    "autoupdate": False,
    "share": "disabled",
    "enabled_providers": ["claude"],
    "model": f"claude/{MODEL}",
    "small_model": f"claude/{MODEL}",
    "provider": {
        "claude": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Claude Code",
            "options": {"baseURL": URL, "apiKey": "none"},
            "models": {model: {"limit": {"context": 200_000, "output": 8_192}} for model in (MODEL, NO_MODEL)},
        }
    },
}
DISABLED = ("AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD")


def opencode(prompt, model=MODEL):
    """What it does, event by event, and its exit code."""
    home = Path(os.environ["HOME"])
    folders = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    quiet = {f"OPENCODE_DISABLE_{what}": "1" for what in DISABLED}
    arguments = ("run", "--auto", "--format", "json", "--model", f"claude/{model}", prompt)
    done = run_program("opencode", *arguments, cwd=PROJECT, **folders, **quiet)
    return json_lines(done.stdout), done.returncode


def stream():
    events, code = opencode(HELLO)
    assert code == 0, events
    assert [event["part"]["text"] for event in events if event["type"] == "text"] == [SAID]


def tools():
    first, second = PROJECT / "first.txt", PROJECT / "second.txt"
    first.write_text("sunshine\n")
    second.write_text("rainfall\n")
    events, code = opencode(f"Read {first} and {second} now")
    assert code == 0, events
    used = [event["part"] for event in events if event["type"] == "tool_use"]
    assert [(part["tool"], part["state"]["status"]) for part in used] == [("read", "completed")] * 2
    (*_, last) = [event["part"]["text"] for event in events if event["type"] == "text"]
    assert last.startswith("I was told:"), last
    assert 0 < last.index("sunshine") < last.index("rainfall"), last


def error():
    events, code = opencode(HELLO, NO_MODEL)
    assert code == 1, events
    assert NO_MODEL in json.dumps(events)


PROJECT.mkdir()
(PROJECT / "opencode.json").write_text(json.dumps(CONFIG))
run(stream, tools, error)
