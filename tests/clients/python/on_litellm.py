"""LiteLLM's `openai/` models."""

import json
import os
from unittest import mock

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it asks the network for prices

import litellm
from cases import (
    BREAK_OFF,
    BROKEN,
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    REPORTS,
    SAID,
    SLOW_DOWN,
    SLOWLY,
    TOLD,
    URL,
    WEATHER,
    WEATHER_TOOL,
    Heard,
    raises,
    run,
)
from pydantic import BaseModel

# What its users configure for an unknown model, so that it streams Responses of it, too.
STREAMING = mock.patch.dict(
    litellm.model_cost, {f"openai/{MODEL}": {"litellm_provider": "openai", "supports_native_streaming": True}}
)


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
    heard, last = Heard(), None
    for last in complete(SLOWLY, stream=True, stream_options={"include_usage": True}):
        heard.add(last.choices[0].delta.content)
    assert heard == CHUNKS
    assert last.usage.total_tokens == 15


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


PARIS = City(name="Paris", population=POPULATION)


def structured():
    answer = complete(DESCRIBE, response_format=City)
    assert City.model_validate_json(answer.choices[0].message.content) == PARIS


def stream_structured():
    said = [chunk.choices[0].delta.content for chunk in complete(DESCRIBE, response_format=City, stream=True)]
    assert City.model_validate_json("".join(filter(None, said))) == PARIS


def error():
    with raises(litellm.NotFoundError):
        complete(HELLO, NO_MODEL)
    with raises(litellm.RateLimitError):
        complete(SLOW_DOWN)


def error_in_a_stream():
    said = []
    with raises(litellm.exceptions.MidStreamFallbackError):
        said.extend(complete(BREAK_OFF, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == BROKEN


def respond(said, model=MODEL, **fields):
    return litellm.responses(model=f"openai/{model}", input=said, api_base=URL, max_retries=0, **fields)


def responses_text():
    assert respond(HELLO).output[0].content[0].text == SAID


def deltas(events):
    return [event.delta for event in events if event.type == "response.output_text.delta"]


def responses_stream():
    # Of a model that it does not know it takes the whole answer, and cuts it up itself.
    assert "".join(deltas(respond(HELLO, stream=True))) == SAID
    with STREAMING:
        heard = Heard()
        for event in respond(SLOWLY, stream=True):
            heard.add(event.delta if event.type == "response.output_text.delta" else None)
        assert heard == CHUNKS


RESPONSES_TOOL = {"type": "function", **WEATHER_TOOL["function"]}


def responses_tools():
    responses_loop(lambda said: respond(said, tools=[RESPONSES_TOOL]))


def responses_stream_tools():
    with STREAMING:
        responses_loop(lambda said: completed(respond(said, tools=[RESPONSES_TOOL], stream=True)))


def completed(events):
    *_, last = events
    assert last.type == "response.completed"
    return last.response


def responses_loop(answer):
    said = [{"role": "user", "content": WEATHER}]
    first = answer(said)
    calls = [item for item in first.output if item.type == "function_call"]
    cities = [json.loads(call.arguments)["city"] for call in calls]
    assert cities == ["Paris", "Rome"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": REPORTS[city]}
        for call, city in zip(calls, cities, strict=True)
    ]
    last = answer([*said, *(item.model_dump() for item in first.output), *results])
    assert last.output[0].content[0].text == TOLD


def responses_structured():
    answer = respond(DESCRIBE, text_format=City)
    assert City.model_validate_json(answer.output[0].content[0].text) == PARIS


def responses_stream_structured():
    with STREAMING:
        said = deltas(respond(DESCRIBE, text_format=City, stream=True))
    assert City.model_validate_json("".join(said)) == PARIS


def responses_error():
    with raises(litellm.NotFoundError):
        respond(HELLO, NO_MODEL)
    with raises(litellm.RateLimitError):
        respond(SLOW_DOWN)


def responses_error_in_a_stream():
    events = []
    with STREAMING, raises(litellm.exceptions.MidStreamFallbackError):
        events.extend(respond(BREAK_OFF, stream=True))
    assert "".join(deltas(events)) == BROKEN


run(text, stream, tools, stream_tools, structured, stream_structured, error, error_in_a_stream)
run(responses_text, responses_stream, responses_tools, responses_stream_tools)
run(responses_structured, responses_stream_structured, responses_error, responses_error_in_a_stream)
