"""The `llm` command."""

import json
from pathlib import Path

from cases import (
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    SAID,
    TOLD,
    URL,
    WEATHER,
    run,
    run_program,
)

FOLDER = Path.cwd() / "llm"
MODELS = """
- model_id: {model}
  model_name: {model}
  api_base: {url}
  supports_tools: true
  supports_schema: true
"""
FUNCTION = '''
def weather(city: str) -> str:
    """The weather in a city."""
    return {"Paris": "sunny", "Rome": "rainy"}[city]
'''


def llm(prompt, *arguments, model=MODEL, code=0):
    done = run_program("llm", "prompt", "-m", model, prompt, *arguments, LLM_USER_PATH=str(FOLDER))
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr if code else done.stdout.strip()


def text():
    assert llm(HELLO, "--no-stream") == SAID


def stream():
    assert llm(HELLO) == "".join(CHUNKS)


def tools():
    assert llm(WEATHER, "--functions", FUNCTION).endswith(TOLD)


def tools_without_a_stream():
    assert llm(WEATHER, "--functions", FUNCTION, "--no-stream").endswith(TOLD)


def structured():
    said = llm(DESCRIBE, "--schema", "name, population int")
    assert json.loads(said) == {"name": "Paris", "population": POPULATION}


def error():
    said = llm(HELLO, model=NO_MODEL, code=1)
    assert f"404 - The model '{NO_MODEL}' does not exist" in said, said


FOLDER.mkdir()
listed = "".join(MODELS.format(model=model, url=URL) for model in (MODEL, NO_MODEL))
(FOLDER / "extra-openai-models.yaml").write_text(listed)
run(text, stream, tools, tools_without_a_stream, structured, error)
