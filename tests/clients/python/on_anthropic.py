"""The anthropic package of Python, by its own helpers too."""

from anthropic import Anthropic, APIStatusError, NotFoundError, RateLimitError
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
    calls_to_claude,
    raises,
    run,
)
from pydantic import BaseModel

ADDRESS = URL.removesuffix("/v1")
client = Anthropic(base_url=ADDRESS, api_key="none", max_retries=0, _strict_response_validation=True)
FUNCTION = WEATHER_TOOL["function"]
TOOL = {"name": "weather", "description": FUNCTION["description"], "input_schema": FUNCTION["parameters"]}


class City(BaseModel):
    name: str
    population: int


PARIS = City(name="Paris", population=POPULATION)


def asked(prompt):
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}]}


def models():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def messages_text():
    answer = client.messages.create(**asked(HELLO))
    (block,) = answer.content
    assert (block.text, answer.stop_reason) == (SAID, "end_turn")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 5)
    assert answer._request_id


def messages_stream():
    heard = Heard()
    with client.messages.stream(**asked(SLOWLY)) as stream:
        for text in stream.text_stream:
            heard.add(text)
        assert stream.get_final_message().usage.output_tokens == 5
    assert heard == CHUNKS


def messages_tools():
    finish_tools(client.messages.create(**asked(WEATHER), tools=[TOOL]))


def messages_stream_tools():
    with client.messages.stream(**asked(WEATHER), tools=[TOOL]) as stream:
        finish_tools(stream.get_final_message())


def finish_tools(answer):
    """Run the calls, and hear what is made of the results."""
    assert answer.stop_reason == "tool_use"
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": REPORTS[call.input["city"]]} for call in calls
    ]
    request = asked(WEATHER)
    request["messages"] += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    (block,) = client.messages.create(**request, tools=[TOOL]).content
    assert block.text == TOLD


def messages_structured():
    assert client.messages.parse(**asked(DESCRIBE), output_format=City).parsed_output == PARIS


def messages_stream_structured():
    with client.messages.stream(**asked(DESCRIBE), output_format=City) as stream:
        assert stream.get_final_message().parsed_output == PARIS


def messages_error():
    with raises(NotFoundError) as caught:
        client.messages.create(**asked(HELLO) | {"model": NO_MODEL})
    assert caught.exception.body["error"]["type"] == "not_found_error"
    with raises(RateLimitError):
        client.messages.create(**asked(SLOW_DOWN))


def messages_error_in_a_stream():
    said = []
    with raises(APIStatusError), client.messages.stream(**asked(BREAK_OFF)) as stream:
        said += stream.text_stream
    assert "".join(said) == BROKEN


def broken_stream_is_not_repeated():
    retrying = client.with_options(max_retries=2)
    with calls_to_claude(BREAK_OFF, 1), raises(APIStatusError), retrying.messages.stream(**asked(BREAK_OFF)) as stream:
        stream.until_done()


run(
    models,
    messages_text,
    messages_stream,
    messages_tools,
    messages_stream_tools,
    messages_structured,
    messages_stream_structured,
    messages_error,
    messages_error_in_a_stream,
    broken_stream_is_not_repeated,
)
