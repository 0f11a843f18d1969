"""The `llm` command, with the configuration that `connect` writes."""

import json
from pathlib import Path

from cases import (
    BREAK_OFF,
    BROKEN,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    SAID,
    SLOW_DOWN,
    SLOW_DOWN_ONCE,
    SLOWLY,
    TOLD,
    URL,
    WEATHER,
    calls_to_claude,
    connect,
    run,
    run_program,
)

FOLDER = {"LLM_USER_PATH": str(Path.cwd() / "llm")}
COMPLETION = "completion"
# Models of the user's, beside the one of `connect`.
OTHERS = f"""
- model_id: {NO_MODEL}
  model_name: {NO_MODEL}
  api_base: {URL}
- model_id: {COMPLETION}
  model_name: {MODEL}
  api_base: {URL}
  completion: true
"""
FUNCTION = '''
def weather(city: str) -> str:
    """The weather in a city."""
    return {"Paris": "sunny", "Rome": "rainy"}[city]
'''


def llm(prompt, *arguments, model="claude-code", slowly=False):
    done = run_program("llm", "prompt", "-m", model, prompt, *arguments, slowly=slowly, **FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def refused(prompt, *arguments, model="claude-code"):
    done = run_program("llm", "prompt", "-m", model, prompt, *arguments, **FOLDER)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout, done.stderr


def text():
    for model in ("claude-code", COMPLETION):
        assert llm(HELLO, "--no-stream", model=model) == SAID


def stream():
    for model in ("claude-code", COMPLETION):
        assert llm(SLOWLY, model=model, slowly=True) == SAID


def tools():
    assert llm(WEATHER, "--functions", FUNCTION, "--no-stream").endswith(TOLD)


def stream_tools():
    assert llm(WEATHER, "--functions", FUNCTION).endswith(TOLD)


def structured():
    describes("--no-stream")


def stream_structured():
    describes()


def describes(*arguments):
    said = llm(DESCRIBE, "--schema", "name, population int", *arguments)
    assert json.loads(said) == {"name": "Paris", "population": POPULATION}


def error():
    _, said = refused(HELLO, "--no-stream", model=NO_MODEL)
    assert f"404 - The model '{NO_MODEL}' does not exist" in said, said
    # It is openai's own client that asks again, twice.
    with calls_to_claude(SLOW_DOWN, 3):
        _, said = refused(SLOW_DOWN)
    assert "429 - Claude's rate limit is reached" in said, said
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        assert llm(SLOW_DOWN_ONCE) == SAID


def error_in_a_stream():
    with calls_to_claude(BREAK_OFF, 1):
        words, said = refused(BREAK_OFF)
    assert words.strip() == BROKEN.strip(), words
    assert "Claude broke off its answer" in said, said


connect("llm", **FOLDER)
with (Path.cwd() / "llm" / "extra-openai-models.yaml").open("a") as file:
    file.write(OTHERS)
run(text, stream, tools, stream_tools, structured, stream_structured, error, error_in_a_stream)
