"""aider, with the configuration that `connect` writes. It has no tools, and writes files from the text it gets."""

from pathlib import Path

from cases import (
    BREAK_OFF_ONCE,
    HELLO,
    NO_MODEL,
    SAID,
    SLOW_DOWN_ONCE,
    SLOWLY,
    calls_to_claude,
    connect,
    run,
    run_program,
)

QUIET = (
    *("--yes-always", "--no-git", "--no-pretty", "--no-check-update", "--no-show-release-notes"),
    *("--analytics-disable", "--no-show-model-warnings", "--no-detect-urls", "--map-tokens", "0"),
)


def aider(message, *arguments, slowly=False):
    own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # otherwise it asks the network for prices
    done = run_program("aider", *QUIET, *arguments, "--message", message, slowly=slowly, **own)
    return done.stdout + done.stderr


def text():
    said = aider(HELLO, "--no-stream")
    assert SAID in said, said


def stream():
    said = aider(SLOWLY, slowly=True)
    assert SAID in said, said


def refused_edit_is_repeated():
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        said = aider(f"{SLOW_DOWN_ONCE} Write the greeting.", "--edit-format", "whole", "greeting.txt")
    assert Path("greeting.txt").read_text() == f"{SAID}\n", said


def error():
    said = aider(HELLO, "--no-stream", "--model", f"openai/{NO_MODEL}")
    assert "NotFoundError" in said, said


def error_in_a_stream():
    # It asks for all that broke off again, for a minute, even if the server forbids it.
    with calls_to_claude(BREAK_OFF_ONCE, 2):
        said = aider(BREAK_OFF_ONCE)
    assert "Claude broke off its answer" in said.replace("\n", ""), said
    assert SAID in said, said


connect("aider")
# What it knows of models; without it, it asks the network.
CACHE = Path.home() / ".aider" / "caches" / "model_prices_and_context_window.json"
CACHE.parent.mkdir(parents=True)
CACHE.write_text('{"none": {}}')
run(text, stream, refused_edit_is_repeated, error, error_in_a_stream)
