"""pi, with a provider of Claude's API in its own configuration and its own tools, in a project. It streams."""

import base64
import json
from contextlib import contextmanager
from pathlib import Path

from cases import (
    BREAK_OFF_ONCE,
    CHUNKS,
    HELLO,
    LOOK,
    MODEL,
    NO_MODEL,
    PNG,
    RESTART,
    RESTARTED,
    SAID,
    SLOW_DOWN_ONCE,
    SLOWLY,
    TOO_LONG_ONCE,
    URL,
    Conversation,
    Heard,
    calls_to_claude,
    equal,
    json_lines,
    run,
    run_program,
    sent_to_claude,
)

PROJECT = Path.cwd() / "project"
ENV = {"PI_CODING_AGENT_DIR": str(Path.cwd() / "agent"), "PI_OFFLINE": "1"}
MODELS = [{"id": MODEL, "reasoning": True, "input": ["text", "image"]}, {"id": NO_MODEL}]
PROVIDER = {
    "baseUrl": URL.removesuffix("/v1"),
    "api": "anthropic-messages",
    "apiKey": "none",
    "models": [{"contextWindow": 200_000, "maxTokens": 32_000, **model} for model in MODELS],
}
CHOSEN = ("--provider", "claude", "--model")


def pi(*arguments, model=MODEL):
    """What it does, event by event."""
    done = run_program("pi", "--mode", "json", *CHOSEN, model, *arguments, cwd=PROJECT, **ENV)
    assert done.returncode == 0, done.stderr
    return json_lines(done.stdout)


def answers(events):
    return [
        event["message"]
        for event in events
        if event["type"] == "message_end" and event["message"]["role"] == "assistant"
    ]


def last_words(events):
    return "".join(block["text"] for block in answers(events)[-1]["content"] if block["type"] == "text")


class Editor:
    """A session as a program has it that has embedded pi."""

    def __init__(self, own):
        self._own = own

    def ask(self, prompt):
        """The pieces of the answer as they come."""
        self._own.tell({"type": "prompt", "message": prompt})
        while (event := self._own.next())["type"] != "agent_end":
            update = event.get("assistantMessageEvent", {})
            if update.get("type") == "text_delta":
                yield update["delta"]

    def stop(self):
        self._own.tell({"type": "abort"})


@contextmanager
def editor():
    with Conversation("pi", "--mode", "rpc", *CHOSEN, MODEL, cwd=PROJECT, **ENV) as own:
        yield Editor(own)


def messages_stream():
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
    with calls_to_claude(HELLO, 1):
        assert list(EDITOR.ask(HELLO)) == CHUNKS
    # What Claude had answered before it was stopped is not kept by pi.
    PAST.append(["user", [SLOWLY, HELLO]])
    equal(sent_to_claude(HELLO)["messages"], PAST)
    PAST.append(["assistant", [SAID]])


def restart_in_a_tool_loop():
    prompt = f"Run `{RESTART}` now"
    assert "".join(EDITOR.ask(prompt)).endswith(f": {RESTARTED}.")
    PAST.append(["user", [prompt]])
    equal(sent_to_claude(RESTART)["messages"], PAST)
    PAST.append(["assistant", ["Let me see.", {"call": "bash"}]])
    equal(sent_to_claude(RESTARTED)["messages"], [*PAST, ["user", [{"result": [RESTARTED]}]]])


def messages_stream_tools():
    events = pi("Run `echo sunshine` and `echo rainfall` now")
    ends = [event for event in events if event["type"] == "tool_execution_end"]
    assert [(end["toolName"], end["isError"]) for end in ends] == [("bash", False)] * 2, ends
    said = last_words(events)
    assert 0 < said.index("sunshine") < said.index("rainfall"), said


def follow_up():
    with calls_to_claude(HELLO, 1):
        assert last_words(pi("--continue", HELLO)) == SAID


def picture():
    (PROJECT / "a.png").write_bytes(base64.b64decode(PNG))
    assert last_words(pi("@a.png", LOOK)) == "I see: image/png."


def messages_error():
    (failed,) = answers(pi(HELLO, model=NO_MODEL))
    assert failed["stopReason"] == "error", failed
    assert NO_MODEL in failed["errorMessage"], failed
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        assert last_words(pi(SLOW_DOWN_ONCE)) == SAID


def too_long_a_conversation_is_known_as_such():
    events = pi(TOO_LONG_ONCE)
    assert {"type": "compaction_start", "reason": "overflow"} in events, events


def messages_error_in_a_stream():
    # Were it to ask again, it would get an answer.
    with calls_to_claude(BREAK_OFF_ONCE, 1):
        failed = answers(pi(BREAK_OFF_ONCE))[-1]
    assert failed["stopReason"] == "error", failed
    assert "Claude broke off its answer" in failed["errorMessage"], failed


PROJECT.mkdir()
Path(ENV["PI_CODING_AGENT_DIR"]).mkdir()
Path(ENV["PI_CODING_AGENT_DIR"], "models.json").write_text(json.dumps({"providers": {"claude": PROVIDER}}))
with editor() as EDITOR:
    run(messages_stream, interrupt, restart_in_a_tool_loop)
run(messages_stream_tools, follow_up, picture)
run(messages_error, too_long_a_conversation_is_known_as_such, messages_error_in_a_stream)
