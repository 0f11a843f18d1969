"""OpenCode, with the configuration that `connect` writes and its own tools, in a project of its own. It streams."""

import base64
import json
import os
from contextlib import contextmanager
from pathlib import Path

from cases import (
    BREAK_OFF_ONCE,
    CHUNKS,
    HELLO,
    LOOK,
    NO_MODEL,
    PLAN,
    PNG,
    RESTART,
    RESTARTED,
    SAID,
    SLOW_DOWN_ONCE,
    SLOWLY,
    TOO_LONG_ONCE,
    Conversation,
    Heard,
    calls_to_claude,
    connect,
    equal,
    json_lines,
    run,
    run_program,
    sent_to_claude,
)

PROJECT = Path.cwd() / "project"
# The user's own, which `connect` leaves as it is.
CONFIG = {
    "autoupdate": False,
    "share": "disabled",
    "enabled_providers": ["claude"],
    "provider": {"claude": {"models": {NO_MODEL: {}}}},
}
SESSIONS = []
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
DISABLED = ("AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD")
ENV = {
    **{f"XDG_{kind}_HOME": str(Path(os.environ["HOME"]) / kind) for kind in ("CONFIG", "DATA", "CACHE", "STATE")},
    **{f"OPENCODE_DISABLE_{what}": "1" for what in DISABLED},
}


def opencode(*arguments, titled=True):
    """What it does, event by event, and its exit code."""
    title = ("--title", "A title") if titled else ()
    command = ("run", "--auto", "--format", "json", *title, *arguments)
    done = run_program("opencode", *command, cwd=PROJECT, **ENV)
    return json_lines(done.stdout), done.returncode


def texts(events):
    return [event["part"]["text"] for event in events if event["type"] == "text"]


class Editor:
    """A session as an editor has it, which gets each piece of an answer. `run` shows whole messages."""

    def __init__(self, own):
        self._own = own
        own.call("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
        self._session = own.call("session/new", {"cwd": str(PROJECT), "mcpServers": []})["sessionId"]

    def ask(self, prompt):
        """The pieces of the answer as they come."""
        params = {"sessionId": self._session, "prompt": [{"type": "text", "text": prompt}]}
        self._own.tell({"id": "prompt", "method": "session/prompt", "params": params})
        while (message := self._own.next()).get("id") != "prompt":
            update = message["params"]["update"]
            if update["sessionUpdate"] == "agent_message_chunk":
                yield update["content"]["text"]

    def stop(self):
        self._own.tell({"method": "session/cancel", "params": {"sessionId": self._session}})

    def switch_to(self, mode):
        self._own.call("session/set_mode", {"sessionId": self._session, "modeId": mode})


@contextmanager
def editor():
    with Conversation("opencode", "acp", cwd=PROJECT, **ENV) as own:
        yield Editor(own)


def stream():
    heard = Heard()
    for piece in EDITOR.ask(SLOWLY):
        heard.add(piece)
    assert heard == CHUNKS


# What Claude is sent of the cases below, which are one conversation with that above.
PAST = [["user", [SLOWLY]], ["assistant", [SAID]]]


def interrupt():
    for piece in EDITOR.ask(SLOWLY):
        assert piece == CHUNKS[0]
        EDITOR.stop()
    assert list(EDITOR.ask(HELLO)) == CHUNKS
    PAST.extend([["user", [SLOWLY]], ["assistant", [CHUNKS[0]]], ["user", [HELLO]]])
    equal(sent_to_claude(HELLO)["messages"], PAST)
    PAST.append(["assistant", [SAID]])


def reminder():
    """It puts one of its own behind the user's words while a mode lasts, and leaves it out of the history."""
    EDITOR.switch_to("plan")
    with calls_to_claude(PLAN, 1):
        assert list(EDITOR.ask(PLAN)) == CHUNKS
    sent = sent_to_claude(PLAN)
    *past, (role, (words, told)) = sent["messages"]
    assert (past, role, words) == (PAST, "user", PLAN)
    assert told.startswith("<system-reminder>\n# Plan Mode"), told
    assert told.count("<system-reminder>") == 1, told
    assert sent["system"] == sent_to_claude(HELLO)["system"]
    PAST.extend([["user", [PLAN]], ["assistant", [SAID]]])


def restart_in_a_tool_loop():
    EDITOR.switch_to("build")
    assert list(EDITOR.ask(f"Run `{RESTART}` now")) == ["Let me see.", f"I was told: {RESTARTED}."]
    asked = sent_to_claude(RESTART)["messages"]
    assert asked[:-1] == PAST
    past = [*asked, ["assistant", ["Let me see.", {"call": "bash"}]]]
    equal(sent_to_claude(RESTARTED)["messages"], [*past, ["user", [{"result": [RESTARTED]}]]])


def stream_tools():
    first, second = PROJECT / "first.txt", PROJECT / "second.txt"
    first.write_text("sunshine\n")
    second.write_text("rainfall\n")
    # Without a title it asks for one at the same time.
    events, code = opencode(f"Read {first} and {second} now", titled=False)
    assert code == 0, events
    used = [event["part"] for event in events if event["type"] == "tool_use"]
    assert [(part["tool"], part["state"]["status"]) for part in used] == [("read", "completed")] * 2
    (*_, last) = texts(events)
    assert last.startswith("I was told:"), last
    assert 0 < last.index("sunshine") < last.index("rainfall"), last
    SESSIONS.append(events[0]["sessionID"])


def picture_and_pdf():
    (PROJECT / "a.png").write_bytes(base64.b64decode(PNG))
    (PROJECT / "a.pdf").write_bytes(PDF)
    events, code = opencode(LOOK, "--file", "a.png", "--file", "a.pdf")
    assert (code, texts(events)) == (0, ["I see: image/png and application/pdf."]), events


def refused_follow_up_is_repeated():
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        events, code = opencode("-c", SLOW_DOWN_ONCE)
    assert (code, texts(events)) == (0, [SAID]), events
    assert [events[0]["sessionID"]] == SESSIONS


def error():
    events, code = opencode("--model", f"claude/{NO_MODEL}", HELLO)
    assert code == 1, events
    assert NO_MODEL in json.dumps(events)


def too_long_a_conversation_is_compacted():
    events, _ = opencode(TOO_LONG_ONCE)
    assert "ContextOverflowError" in json.dumps(events)
    assert "compaction_continue" in json.dumps(events)
    assert texts(events)[-1] == SAID, events


def error_in_a_stream():
    # Were it to ask again, it would get an answer.
    with calls_to_claude(BREAK_OFF_ONCE, 1):
        events, code = opencode(BREAK_OFF_ONCE)
    assert code == 1, events
    assert "Claude broke off its answer" in json.dumps(events)


PROJECT.mkdir()
(PROJECT / "opencode.json").write_text(json.dumps(CONFIG))
connect("opencode", cwd=PROJECT, **ENV)
with editor() as EDITOR:
    run(stream, interrupt, reminder, restart_in_a_tool_loop)
run(stream_tools, refused_follow_up_is_repeated, error, too_long_a_conversation_is_compacted)
run(picture_and_pdf, error_in_a_stream)
