"""aider. It streams, knows no tools, and writes files from the text of an answer."""

from pathlib import Path

from cases import HELLO, MODEL, NO_MODEL, SAID, URL, run, run_program

QUIET = (
    *("--yes-always", "--no-git", "--no-pretty", "--no-check-update", "--no-show-release-notes"),
    *("--analytics-disable", "--no-show-model-warnings", "--no-detect-urls", "--map-tokens", "0"),
)


def aider(message, *arguments, model=MODEL):
    server = ("--model", f"openai/{model}", "--openai-api-base", URL, "--openai-api-key", "none")
    own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # otherwise it asks the network for prices
    done = run_program("aider", *server, *QUIET, *arguments, "--message", message, **own)
    return done.stdout + done.stderr


def text():
    said = aider(HELLO, "--no-stream")
    assert SAID in said, said


def stream():
    said = aider(HELLO, "--stream")
    assert SAID in said, said


def edit():
    said = aider("Write the greeting.", "--edit-format", "whole", "greeting.txt")
    assert Path("greeting.txt").read_text() == f"{SAID}\n", said


def error():
    said = aider(HELLO, model=NO_MODEL)
    assert "NotFoundError" in said, said


run(text, stream, edit, error)
