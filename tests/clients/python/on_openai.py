"""The openai package of Python, by its own helpers too."""

import json

from cases import (
    BREAK_DOWN,
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
    SLOW_DOWN_ONCE,
    SLOWLY,
    TOLD,
    WEATHER,
    WEATHER_TOOL,
    Heard,
    calls_to_claude,
    raises,
    run,
)
from openai import APIError, APIStatusError, AsyncOpenAI, NotFoundError, OpenAI, RateLimitError
from pydantic import BaseModel

client = OpenAI(max_retries=0)


class City(BaseModel):
    name: str
    population: int


def asked(prompt):
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}


def models():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def text():
    answer = client.chat.completions.create(**asked(HELLO))
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == (SAID, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 5, 15)
    assert answer._request_id


async def text_async():
    async with AsyncOpenAI(max_retries=0) as own:
        answer = await own.chat.completions.create(**asked(HELLO))
        assert answer.choices[0].message.content == SAID


def stream():
    heard, chunks = Heard(), []
    for chunk in client.chat.completions.create(**asked(SLOWLY), stream=True, stream_options={"include_usage": True}):
        chunks.append(chunk)
        heard.add(chunk.choices[0].delta.content if chunk.choices else None)
    assert heard == CHUNKS
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 15)


async def stream_async():
    heard = Heard()
    async with AsyncOpenAI(max_retries=0) as own:
        async for chunk in await own.chat.completions.create(**asked(SLOWLY), stream=True):
            heard.add(chunk.choices[0].delta.content)
    assert heard == CHUNKS


def tools():
    request = asked(WEATHER) | {"tools": [WEATHER_TOOL]}
    (choice,) = client.chat.completions.create(**request).choices
    finish_tools(request, choice)


def stream_tools():
    strict = {"type": "function", "function": {**WEATHER_TOOL["function"], "strict": True}}
    request = asked(WEATHER) | {"tools": [strict]}
    with client.chat.completions.stream(**request) as events:
        done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
        assert [event.parsed_arguments for event in done] == [{"city": "Paris"}, {"city": "Rome"}]
        (choice,) = events.get_final_completion().choices
    finish_tools(request, choice)


def finish_tools(request, choice):
    """Run the calls, and hear what is made of the results."""
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    cities = [json.loads(call.function.arguments)["city"] for call in calls]
    assert cities == ["Paris", "Rome"]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": REPORTS[city]}
        for call, city in zip(calls, cities, strict=True)
    ]
    more = request | {"messages": [*request["messages"], choice.message, *results]}
    assert client.chat.completions.create(**more).choices[0].message.content == TOLD


def structured():
    answer = client.chat.completions.parse(**asked(DESCRIBE), response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", population=POPULATION)


def stream_structured():
    with client.chat.completions.stream(**asked(DESCRIBE), response_format=City) as events:
        assert events.get_final_completion().choices[0].message.parsed == City(name="Paris", population=POPULATION)


def error():
    with raises(NotFoundError) as caught:
        client.chat.completions.create(**asked(HELLO) | {"model": NO_MODEL})
    assert caught.exception.code == "model_not_found"
    with raises(RateLimitError):
        client.chat.completions.create(**asked(SLOW_DOWN))


def error_in_a_stream():
    said = []
    with raises(APIError) as caught:
        said.extend(client.chat.completions.create(**asked(BREAK_OFF), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == BROKEN
    assert caught.exception.type


def broken_turn_is_not_repeated():
    patient = OpenAI(max_retries=2)
    for prompt in (BREAK_OFF, BREAK_DOWN):
        with calls_to_claude(prompt, 1), raises(APIError):
            list(patient.chat.completions.create(**asked(prompt), stream=True))
        with calls_to_claude(prompt, 1), raises(APIStatusError):
            patient.chat.completions.create(**asked(prompt))


def refused_turn_is_repeated():
    with calls_to_claude(SLOW_DOWN_ONCE, 2):
        answer = OpenAI(max_retries=2).chat.completions.create(**asked(SLOW_DOWN_ONCE))
    assert answer.choices[0].message.content == SAID


def responses_text():
    answer = client.responses.create(model=MODEL, input=HELLO)
    assert (answer.output_text, answer.status, answer.usage.total_tokens) == (SAID, "completed", 15)


def responses_stream():
    heard = Heard()
    with client.responses.stream(model=MODEL, input=SLOWLY) as events:
        for event in events:
            heard.add(event.delta if event.type == "response.output_text.delta" else None)
        assert heard == CHUNKS
        assert events.get_final_response().output_text == SAID


RESPONSES_TOOL = {"type": "function", **WEATHER_TOOL["function"], "strict": True}


def responses_tools():
    responses_loop(lambda said: client.responses.create(model=MODEL, input=said, tools=[RESPONSES_TOOL]))


def responses_stream_tools():
    done = []

    def answer(said):
        with client.responses.stream(model=MODEL, input=said, tools=[RESPONSES_TOOL]) as events:
            done.extend(event for event in events if event.type == "response.function_call_arguments.done")
            return events.get_final_response()

    responses_loop(answer)
    assert [json.loads(event.arguments) for event in done] == [{"city": "Paris"}, {"city": "Rome"}]


def responses_loop(answer):
    first = answer([{"role": "user", "content": WEATHER}])
    calls = [item for item in first.output if item.type == "function_call"]
    cities = [json.loads(call.arguments)["city"] for call in calls]
    assert cities == ["Paris", "Rome"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": REPORTS[city]}
        for call, city in zip(calls, cities, strict=True)
    ]
    assert answer([{"role": "user", "content": WEATHER}, *first.output, *results]).output_text == TOLD


def responses_structured():
    answer = client.responses.parse(model=MODEL, input=DESCRIBE, text_format=City)
    assert answer.output_parsed == City(name="Paris", population=POPULATION)


def responses_stream_structured():
    with client.responses.stream(model=MODEL, input=DESCRIBE, text_format=City) as events:
        assert events.get_final_response().output_parsed == City(name="Paris", population=POPULATION)


def responses_error():
    with raises(NotFoundError) as caught:
        client.responses.create(model=NO_MODEL, input=HELLO)
    assert caught.exception.code == "model_not_found"
    with raises(RateLimitError):
        client.responses.create(model=MODEL, input=SLOW_DOWN)


def responses_error_in_a_stream():
    events = []
    with raises(APIError):
        events.extend(client.responses.create(model=MODEL, input=BREAK_OFF, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == BROKEN


def responses_broken_turn_is_not_repeated():
    patient = OpenAI(max_retries=2)
    for prompt in (BREAK_OFF, BREAK_DOWN):
        with calls_to_claude(prompt, 1), raises(APIError):
            list(patient.responses.create(model=MODEL, input=prompt, stream=True))
        with calls_to_claude(prompt, 1), raises(APIStatusError):
            patient.responses.create(model=MODEL, input=prompt)


run(models, text, text_async, stream, stream_async, tools, stream_tools, structured, stream_structured)
run(error, error_in_a_stream, broken_turn_is_not_repeated, refused_turn_is_repeated)
run(responses_text, responses_stream, responses_tools, responses_stream_tools)
run(responses_structured, responses_stream_structured, responses_error, responses_error_in_a_stream)
run(responses_broken_turn_is_not_repeated)
