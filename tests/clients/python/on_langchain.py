"""LangChain's ChatOpenAI, over both APIs, and ChatAnthropic."""

from anthropic import APIStatusError
from anthropic import NotFoundError as NotFound
from anthropic import RateLimitError as RateLimited
from cases import (
    BREAK_OFF,
    BROKEN,
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    SAID,
    SLOW_DOWN,
    SLOWLY,
    TOLD,
    URL,
    WEATHER,
    Heard,
    raises,
    run,
    weather,
)
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import APIError, NotFoundError, RateLimitError
from pydantic import BaseModel

chat = ChatOpenAI(model=MODEL, max_retries=0, stream_usage=True)
chat_responses = ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True)
chat_messages = ChatAnthropic(model=MODEL, max_retries=0, base_url=URL.removesuffix("/v1"), api_key="none")


class City(BaseModel):
    """A city."""

    name: str
    population: int


PARIS = City(name="Paris", population=POPULATION)


def text():
    answer = chat.invoke(HELLO)
    assert answer.content == SAID
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["total_tokens"] == 15


def stream():
    heard, tokens = Heard(), 0
    for chunk in chat.stream(SLOWLY):
        heard.add(chunk.content)
        tokens += (chunk.usage_metadata or {"total_tokens": 0})["total_tokens"]
    assert (heard, tokens) == (CHUNKS, 15)


async def text_async():
    assert (await ChatOpenAI(model=MODEL, max_retries=0).ainvoke(HELLO)).content == SAID


def tools():
    loop(chat, streamed=False)


def stream_tools():
    loop(chat, streamed=True)


def loop(model, streamed):
    own = tool(weather)
    model = model.bind_tools([own])
    said = [HumanMessage(WEATHER)]
    answer = sum_of(model.stream(said)) if streamed else model.invoke(said)
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    said += [answer, *(own.invoke(call) for call in answer.tool_calls)]
    last = sum_of(model.stream(said)) if streamed else model.invoke(said)
    assert last.text == TOLD


def sum_of(chunks):
    whole = next(chunks)
    for chunk in chunks:
        whole += chunk
    return whole


def structured():
    assert chat.with_structured_output(City).invoke(DESCRIBE) == PARIS


def structured_by_a_tool():
    assert chat.with_structured_output(City, method="function_calling").invoke(DESCRIBE) == PARIS


def structured_by_json_mode():
    answer = chat.with_structured_output(City, method="json_mode").invoke(f"{DESCRIBE} Answer in JSON.")
    assert answer == PARIS


def stream_structured():
    *_, last = chat.with_structured_output(City).stream(DESCRIBE)
    assert last == PARIS


def error():
    refused(chat)


def refused(model):
    with raises((NotFoundError, NotFound)):
        model.model_copy(update={"model_name": NO_MODEL, "model": NO_MODEL}).invoke(HELLO)
    with raises((RateLimitError, RateLimited)):
        model.invoke(SLOW_DOWN)


def error_in_a_stream():
    broken(chat)


def broken(model):
    said = []
    with raises((APIError, APIStatusError)):
        said.extend(model.stream(BREAK_OFF))
    assert "".join(chunk.text for chunk in said) == BROKEN


def responses_text():
    answer = chat_responses.invoke(HELLO)
    assert (answer.text, answer.usage_metadata["total_tokens"]) == (SAID, 15)


def responses_stream():
    heard = Heard()
    for chunk in chat_responses.stream(SLOWLY):
        heard.add(chunk.text)
    assert heard == CHUNKS


def responses_tools():
    loop(chat_responses, streamed=False)


def responses_stream_tools():
    loop(chat_responses, streamed=True)


def responses_structured():
    assert chat_responses.with_structured_output(City).invoke(DESCRIBE) == PARIS


def responses_stream_structured():
    *_, last = chat_responses.with_structured_output(City).stream(DESCRIBE)
    assert last == PARIS


def responses_error():
    refused(chat_responses)


def responses_error_in_a_stream():
    broken(chat_responses)


def messages_text():
    answer = chat_messages.invoke(HELLO)
    assert (answer.text, answer.usage_metadata["total_tokens"]) == (SAID, 15)
    assert answer.response_metadata["stop_reason"] == "end_turn"


def messages_stream():
    heard, tokens = Heard(), 0
    for chunk in chat_messages.stream(SLOWLY):
        heard.add(chunk.text)
        tokens += (chunk.usage_metadata or {"total_tokens": 0})["total_tokens"]
    assert (heard, tokens) == (CHUNKS, 15)


def messages_tools():
    loop(chat_messages, streamed=False)


def messages_stream_tools():
    loop(chat_messages, streamed=True)


def messages_structured():
    for method in ("json_schema", "function_calling"):
        assert chat_messages.with_structured_output(City, method=method).invoke(DESCRIBE) == PARIS


def messages_stream_structured():
    *_, last = chat_messages.with_structured_output(City, method="json_schema").stream(DESCRIBE)
    assert last == PARIS


def messages_error():
    refused(chat_messages)


def messages_error_in_a_stream():
    broken(chat_messages)


run(text, stream, text_async, tools, stream_tools)
run(structured, structured_by_a_tool, structured_by_json_mode, stream_structured, error, error_in_a_stream)
run(responses_text, responses_stream, responses_tools, responses_stream_tools)
run(responses_structured, responses_stream_structured, responses_error, responses_error_in_a_stream)
run(messages_text, messages_stream, messages_tools, messages_stream_tools)
run(messages_structured, messages_stream_structured, messages_error, messages_error_in_a_stream)
