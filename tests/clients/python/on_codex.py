"""Codex, with the configuration that `connect` writes and its own tools, in a project of its own.

It speaks the Responses API and nothing else, and streams.
"""

import base64
import json
import re
from contextlib import contextmanager
from pathlib import Path

from cases import (
    BREAK_OFF_ONCE,
    CHUNKS,
    DESCRIBE,
    HELLO,
    LOOK,
    MODEL,
    NO_MODEL,
    PLAN,
    PNG,
    POPULATION,
    RESTART,
    RESTARTED,
    SAID,
    SLOW_DOWN_ONCE,
    SLOWLY,
    TOO_LONG,
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


class Editor:
    """A thread as an editor has it, which gets each piece of an answer. `exec` shows whole messages."""

    def __init__(self, own):
        self._own = own
        own.call("initialize", {"clientInfo": {"name": "tests", "title": None, "version": "1"}})
        own.tell({"method": "initialized"})
        leave = {"approvalPolicy": "never", "sandbox": "danger-full-access"}
        self._thread = own.call("thread/start", {"model": MODEL, "modelProvider": PROVIDER, **leave})["thread"]["id"]
        self._turn = ""

    def ask(self, prompt, *more, **settings):
        """The pieces of the answer as they come.

        Args:
            more: what is sent with the text.
            settings: of this turn and all after it.
        """
        asked = [{"type": "text", "text": prompt, "text_elements": []}, *more]
        started = self._own.call("turn/start", {"threadId": self._thread, "input": asked, **settings})
        self._turn = started["turn"]["id"]
        while (message := self._own.next()).get("method") != "turn/completed":
            if message.get("method") == "item/agentMessage/delta":
                yield message["params"]["delta"]

    def stop(self):
        params = {"threadId": self._thread, "turnId": self._turn}
        self._own.tell({"id": "stop", "method": "turn/interrupt", "params": params})


@contextmanager
def editor():
    with Conversation("codex", "app-server", cwd=PROJECT, **HOME) as own:
        yield Editor(own)


def responses_stream():
    heard = Heard()
    for piece in EDITOR.ask(SLOWLY):
        heard.add(piece)
    assert heard == CHUNKS


# What Claude is sent of the cases below, which are one conversation with that above. Of what Codex itself adds to the
# user's words there are the first tags.
PAST = [["user", ["<environment_context>", SLOWLY]], ["assistant", [SAID]]]
REMINDER = "<system-reminder><permissions instructions>"


def sent(words):
    """The messages with these words in the last."""
    return [[role, list(map(outlined, blocks))] for role, blocks in sent_to_claude(words)["messages"]]


def outlined(block):
    tags = re.match(r"(?:<system-reminder>\s*)?<[^>]+>(?=.)", block, re.DOTALL) if isinstance(block, str) else None
    return "".join(tags[0].split("\n")) if tags else block


def responses_interrupt_and_picture():
    for piece in EDITOR.ask(SLOWLY):
        assert piece == CHUNKS[0]
        EDITOR.stop()
    (PROJECT / "a.png").write_bytes(base64.b64decode(PNG))
    with calls_to_claude(LOOK, 1):
        answer = list(EDITOR.ask(LOOK, {"type": "localImage", "path": str(PROJECT / "a.png")}))
    assert answer == ["I see: image/png."]
    # What Claude had answered before it was stopped is not kept by Codex.
    picture = [f'<image name=[Image #1] path="{PROJECT / "a.png"}">', {"image": "image/png"}, "</image>"]
    PAST.append(["user", [SLOWLY, "<turn_aborted>", LOOK, *picture]])
    equal(sent(LOOK), PAST)
    PAST.append(["assistant", answer])


def responses_reminder():
    """It announces other permissions as the developer, in the middle of the conversation."""
    with calls_to_claude(PLAN, 1):
        assert list(EDITOR.ask(PLAN, sandboxPolicy={"type": "readOnly"})) == CHUNKS
    PAST.append(["user", [REMINDER, "<environment_context>", PLAN]])
    equal(sent(PLAN), PAST)
    assert sent_to_claude(PLAN)["system"] == sent_to_claude(LOOK)["system"]
    PAST.append(["assistant", [SAID]])


def responses_restart_in_a_tool_loop():
    prompt = f"Run `{RESTART}` now"
    first, second, *_ = EDITOR.ask(prompt, sandboxPolicy={"type": "dangerFullAccess"})
    assert first == "Let me see.", first
    assert second.startswith("I was told: "), second
    PAST.append(["user", [REMINDER, "<environment_context>", prompt]])
    equal(sent(RESTART), PAST)
    PAST.append(["assistant", ["Let me see.", {"call": "exec_command"}]])
    *past, (role, (given,)) = sent(RESTARTED)
    equal((past, role, list(given)), (PAST, "user", ["result"]))
    (result,) = given["result"]
    assert result.endswith(f"Output:\n{RESTARTED}"), result


def responses_stream_tools():
    events, code = codex("Run `echo sunshine` and `echo rainfall` now.")
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
with editor() as EDITOR:
    run(responses_stream, responses_interrupt_and_picture, responses_reminder, responses_restart_in_a_tool_loop)
run(responses_stream_tools, responses_stream_structured, responses_follow_up)
run(responses_error, responses_error_in_a_stream)
