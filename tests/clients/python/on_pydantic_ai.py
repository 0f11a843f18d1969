"""pydantic-ai, over chat completions and over the Responses API, which is its default."""

from cases import (
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
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    """A city."""

    name: str
    population: int


PARIS = City(name="Paris", population=POPULATION)


def agent(kind=OpenAIChatModel, model=MODEL, **settings):
    provider = OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0))
    return Agent(kind(model, provider=provider), system_prompt="Be brief.", instructions="Be kind.", **settings)


async def told(kind=OpenAIChatModel):
    result = await agent(kind).run(HELLO)
    assert result.output == SAID
    assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 5)


async def streamed(kind=OpenAIChatModel):
    async with agent(kind).run_stream(HELLO) as result:
        assert [text async for text in result.stream_text(delta=True, debounce_by=None)] == CHUNKS
        assert result.usage.output_tokens == 5


async def looped(kind=OpenAIChatModel):
    result = await agent(kind, tools=[weather]).run(WEATHER)
    assert result.output == TOLD
    calls = [part for message in result.all_messages() for part in message.parts if part.part_kind == "tool-call"]
    assert [call.args_as_dict() for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]


async def looped_in_streams(kind=OpenAIChatModel):
    async with agent(kind, tools=[weather]).run_stream(WEATHER) as result:
        # What is said beside calls counts as an answer there, and ends it: the calls are what it must have seen.
        await result.get_output()
        calls = [part for message in result.all_messages() for part in message.parts if part.part_kind == "tool-call"]
    assert [call.args_as_dict() for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]


async def formed(kind=OpenAIChatModel):
    for output in (ToolOutput(City), NativeOutput(City), PromptedOutput(City)):
        assert (await agent(kind, output_type=output).run(DESCRIBE)).output == PARIS


async def refused(kind=OpenAIChatModel):
    for prompt, model, status in ((HELLO, NO_MODEL, 404), (SLOW_DOWN, MODEL, 429)):
        with raises(ModelHTTPError) as caught:
            await agent(kind, model).run(prompt)
        assert caught.exception.status_code == status


async def text():
    await told()


async def stream():
    await streamed()


async def tools():
    await looped()


async def stream_tools():
    await looped_in_streams()


async def structured():
    await formed()


async def error():
    await refused()


@responses
async def responses_text():
    await told(OpenAIResponsesModel)


@responses
async def responses_stream():
    await streamed(OpenAIResponsesModel)


@responses
async def responses_tools():
    await looped(OpenAIResponsesModel)


@responses
async def responses_structured():
    await formed(OpenAIResponsesModel)


@responses
async def responses_error():
    await refused(OpenAIResponsesModel)


run(text, stream, tools, stream_tools, structured, error)
run(responses_text, responses_stream, responses_tools, responses_structured, responses_error)
