"""LangChain's ChatOpenAI."""

from cases import (
    BREAK_OFF,
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    SAID,
    SLOW_DOWN,
    TOLD,
    WEATHER,
    raises,
    responses,
    run,
    weather,
)
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import APIError, NotFoundError, RateLimitError
from pydantic import BaseModel

chat = ChatOpenAI(model=MODEL, max_retries=0, stream_usage=True)
chat_responses = ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True)


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
    chunks = list(chat.stream(HELLO))
    assert [chunk.content for chunk in chunks if chunk.content] == CHUNKS
    assert sum((chunk.usage_metadata or {"total_tokens": 0})["total_tokens"] for chunk in chunks) == 15


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
    assert model.invoke(said).text == TOLD


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


def error():
    with raises(NotFoundError):
        ChatOpenAI(model=NO_MODEL, max_retries=0).invoke(HELLO)
    with raises(RateLimitError):
        chat.invoke(SLOW_DOWN)


def error_in_a_stream():
    said = []
    with raises(APIError):
        said.extend(chat.stream(BREAK_OFF))
    assert "".join(chunk.content for chunk in said) == "One two "


@responses
def responses_text():
    answer = chat_responses.invoke(HELLO)
    assert (answer.text, answer.usage_metadata["total_tokens"]) == (SAID, 15)


@responses
def responses_stream():
    assert [chunk.text for chunk in chat_responses.stream(HELLO) if chunk.text] == CHUNKS


@responses
def responses_tools():
    loop(chat_responses, streamed=False)


@responses
def responses_stream_tools():
    loop(chat_responses, streamed=True)


@responses
def responses_structured():
    assert chat_responses.with_structured_output(City).invoke(DESCRIBE) == PARIS


run(text, stream, text_async, tools, stream_tools, structured, structured_by_a_tool, structured_by_json_mode)
run(error, error_in_a_stream)
run(responses_text, responses_stream, responses_tools, responses_stream_tools, responses_structured)
