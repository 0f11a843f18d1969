"""The OpenAI Agents SDK, over chat completions and over the Responses API, which is its default."""

from agents import (
    Agent,
    AgentOutputSchema,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from cases import (
    CHUNKS,
    DESCRIBE,
    HELLO,
    MODEL,
    NO_MODEL,
    POPULATION,
    SAID,
    TOLD,
    WEATHER,
    raises,
    responses,
    run,
    weather,
)
from openai import AsyncOpenAI, NotFoundError
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    """A city."""

    name: str
    population: int


def agent(kind, model=MODEL, **settings):
    own = kind(model=model, openai_client=AsyncOpenAI(max_retries=0))
    return Agent(name="Tester", instructions="Be brief.", model=own, **settings)


async def told(kind):
    result = await Runner.run(agent(kind), HELLO)
    assert result.final_output == SAID
    assert result.context_wrapper.usage.total_tokens == 15


async def streamed(kind):
    result = Runner.run_streamed(agent(kind), HELLO)
    raw = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
    assert [event.delta for event in raw if event.type == "response.output_text.delta"] == CHUNKS
    assert result.final_output == SAID


async def looped(kind):
    own = agent(kind, tools=[function_tool(weather)])
    assert (await Runner.run(own, WEATHER)).final_output == TOLD
    result = Runner.run_streamed(own, WEATHER)
    names = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert result.final_output == TOLD
    assert (names.count("tool_called"), names.count("tool_output")) == (2, 2)


async def formed(kind):
    result = await Runner.run(agent(kind, output_type=AgentOutputSchema(City)), DESCRIBE)
    assert result.final_output == City(name="Paris", population=POPULATION)


async def refused(kind):
    with raises(NotFoundError):
        await Runner.run(agent(kind, NO_MODEL), HELLO)


async def text():
    await told(OpenAIChatCompletionsModel)


async def stream():
    await streamed(OpenAIChatCompletionsModel)


async def tools():
    await looped(OpenAIChatCompletionsModel)


async def structured():
    await formed(OpenAIChatCompletionsModel)


async def error():
    await refused(OpenAIChatCompletionsModel)


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


run(text, stream, tools, structured, error)
run(responses_text, responses_stream, responses_tools, responses_structured, responses_error)
