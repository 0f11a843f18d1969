"""pydantic-ai, over chat completions and over the Responses API, which is its default."""

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
    WEATHER,
    Heard,
    raises,
    run,
    weather,
)
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
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
    heard = Heard()
    async with agent(kind).run_stream(SLOWLY) as result:
        async for piece in result.stream_text(delta=True, debounce_by=None):
            heard.add(piece)
        assert heard == CHUNKS
        assert result.usage.output_tokens == 5


async def looped(kind=OpenAIChatModel, **settings):
    result = await agent(kind, tools=[weather]).run(WEATHER, **settings)
    assert result.output == TOLD
    calls = [part for message in result.all_messages() for part in message.parts if part.part_kind == "tool-call"]
    assert [call.args_as_dict() for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]


async def looped_in_streams(kind=OpenAIChatModel):
    pieces = []

    async def handle(_context, events):
        pieces.extend([event async for event in events if event.event_kind == "part_delta"])

    # In `run_stream`, text beside calls counts as an answer, and ends it.
    await looped(kind, event_stream_handler=handle)
    assert pieces


async def formed(kind=OpenAIChatModel):
    for output in (ToolOutput(City), NativeOutput(City), PromptedOutput(City)):
        assert (await agent(kind, output_type=output).run(DESCRIBE)).output == PARIS


async def formed_in_a_stream(kind=OpenAIChatModel):
    for output in (ToolOutput(City), NativeOutput(City)):
        async with agent(kind, output_type=output).run_stream(DESCRIBE) as result:
            assert await result.get_output() == PARIS


async def refused(kind=OpenAIChatModel):
    for prompt, model, status in ((HELLO, NO_MODEL, 404), (SLOW_DOWN, MODEL, 429)):
        with raises(ModelHTTPError) as caught:
            await agent(kind, model).run(prompt)
        assert caught.exception.status_code == status


async def broken(kind=OpenAIChatModel):
    said = []
    with raises(ModelAPIError):
        async with agent(kind).run_stream(BREAK_OFF) as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                said += [piece]
    assert "".join(said) == BROKEN


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


async def stream_structured():
    await formed_in_a_stream()


async def error():
    await refused()


async def error_in_a_stream():
    await broken()


async def responses_text():
    await told(OpenAIResponsesModel)


async def responses_stream():
    await streamed(OpenAIResponsesModel)


async def responses_tools():
    await looped(OpenAIResponsesModel)


async def responses_stream_tools():
    await looped_in_streams(OpenAIResponsesModel)


async def responses_structured():
    await formed(OpenAIResponsesModel)


async def responses_stream_structured():
    await formed_in_a_stream(OpenAIResponsesModel)


async def responses_error():
    await refused(OpenAIResponsesModel)


async def responses_error_in_a_stream():
    await broken(OpenAIResponsesModel)


run(text, stream, tools, stream_tools, structured, stream_structured, error, error_in_a_stream)
run(responses_text, responses_stream, responses_tools, responses_stream_tools)
run(responses_structured, responses_stream_structured, responses_error, responses_error_in_a_stream)
