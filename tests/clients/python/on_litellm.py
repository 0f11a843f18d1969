"""LiteLLM's `openai/` models."""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it asks the network for prices

import litellm
from cases import (
    BREAK_OFF,
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    REPORTS,
    SAID,
    SLOW_DOWN,
    TOLD,
    URL,
    WEATHER,
    WEATHER_TOOL,
    raises,
    responses,
    run,
)
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


def complete(messages, model=MODEL, **fields):
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return litellm.completion(model=f"openai/{model}", messages=said, api_base=URL, max_retries=0, **fields)


def text():
    answer = complete(HELLO)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (SAID, "stop")
    assert answer.usage.total_tokens == 15


def stream():
    chunks = list(complete(HELLO, stream=True, stream_options={"include_usage": True}))
    assert [text for chunk in chunks if (text := chunk.choices[0].delta.content)] == CHUNKS
    assert chunks[-1].usage.total_tokens == 15


def tools():
    finish_tools(complete(WEATHER, tools=[WEATHER_TOOL]))


def stream_tools():
    chunks = list(complete(WEATHER, tools=[WEATHER_TOOL], stream=True))
    finish_tools(litellm.stream_chunk_builder(chunks))


def finish_tools(answer):
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    assert cities == ["Paris", "Rome"]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": REPORTS[city]}
        for call, city in zip(message.tool_calls, cities, strict=True)
    ]
    said = [{"role": "user", "content": WEATHER}, message.model_dump(), *results]
    assert complete(said, tools=[WEATHER_TOOL]).choices[0].message.content == TOLD


def structured():
    answer = complete(DESCRIBE, response_format=City)
    assert City.model_validate_json(answer.choices[0].message.content) == City(name="Paris", population=POPULATION)


def error():
    with raises(litellm.NotFoundError):
        complete(HELLO, NO_MODEL)
    with raises(litellm.RateLimitError):
        complete(SLOW_DOWN)


def error_in_a_stream():
    said = []
    with raises(litellm.exceptions.MidStreamFallbackError):
        said.extend(complete(BREAK_OFF, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == "One two "


@responses
def responses_text():
    answer = litellm.responses(model=f"openai/{MODEL}", input=HELLO, api_base=URL)
    assert answer.output[0].content[0].text == SAID


@responses
def responses_stream():
    events = litellm.responses(model=f"openai/{MODEL}", input=HELLO, api_base=URL, stream=True)
    # It knows no such model, so it takes the whole answer and cuts it up itself.
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == SAID


run(text, stream, tools, stream_tools, structured, error, error_in_a_stream, responses_text, responses_stream)
