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
    equal,
    raises,
    run,
    sent_to_claude,
    weather,
)
from openai import APIError, AsyncOpenAI, NotFoundError, RateLimitError
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    """A city."""

    name: str
    population: int


PARIS = City(name="Paris", population=POPULATION)


def agent(kind, model=MODEL, **settings):
    own = kind(model=model, openai_client=AsyncOpenAI(max_retries=0))
    return Agent(name="Tester", instructions="Be brief.", model=own, **settings)


async def told(kind):
    result = await Runner.run(agent(kind), HELLO)
    assert result.final_output == SAID
    assert result.context_wrapper.usage.total_tokens == 15


async def streamed(kind):
    heard, result = Heard(), Runner.run_streamed(agent(kind), SLOWLY)
    async for piece in pieces(result):
        heard.add(piece)
    assert heard == CHUNKS
    assert result.final_output == SAID


async def pieces(result):
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            yield event.data.delta


async def looped(kind):
    result = await Runner.run(agent(kind, tools=[function_tool(weather)]), WEATHER)
    assert result.final_output == TOLD
    assert [type(item).__name__ for item in result.new_items].count("ToolCallOutputItem") == 2


async def looped_in_streams(kind):
    result = Runner.run_streamed(agent(kind, tools=[function_tool(weather)]), WEATHER)
    names = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert result.final_output == TOLD
    assert (names.count("tool_called"), names.count("tool_output")) == (2, 2)


async def formed(kind):
    result = await Runner.run(agent(kind, output_type=AgentOutputSchema(City)), DESCRIBE)
    assert result.final_output == PARIS


async def formed_in_a_stream(kind):
    result = Runner.run_streamed(agent(kind, output_type=AgentOutputSchema(City)), DESCRIBE)
    assert City.model_validate_json("".join([piece async for piece in pieces(result)])) == PARIS
    assert result.final_output == PARIS


async def refused(kind):
    with raises(NotFoundError):
        await Runner.run(agent(kind, NO_MODEL), HELLO)
    with raises(RateLimitError):
        await Runner.run(agent(kind), SLOW_DOWN)


async def broken(kind):
    said = []
    with raises(APIError):
        async for piece in pieces(Runner.run_streamed(agent(kind), BREAK_OFF)):
            said += [piece]
    assert "".join(said) == BROKEN


async def text():
    await told(OpenAIChatCompletionsModel)


async def stream():
    await streamed(OpenAIChatCompletionsModel)


async def tools():
    await looped(OpenAIChatCompletionsModel)


async def stream_tools():
    await looped_in_streams(OpenAIChatCompletionsModel)


async def structured():
    await formed(OpenAIChatCompletionsModel)


async def stream_structured():
    await formed_in_a_stream(OpenAIChatCompletionsModel)


async def error():
    await refused(OpenAIChatCompletionsModel)


async def error_in_a_stream():
    await broken(OpenAIChatCompletionsModel)


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


async def continued_by_its_id():
    """Each request has only what is new; what Claude is sent has all that came before."""

    def foggy(city: str) -> str:
        return f"foggy in {city}"

    own = agent(OpenAIResponsesModel, tools=[function_tool(foggy, name_override="weather")])
    first = await Runner.run(own, "Say hello first.")
    later = "And the weather in Paris and in Rome?"
    last = await Runner.run(own, later, previous_response_id=first.last_response_id)
    assert last.final_output.endswith(": foggy in Paris and foggy in Rome.")
    past = [["user", ["Say hello first."]], ["assistant", [SAID]]]
    calls = ["assistant", ["Let me see.", {"call": "weather"}, {"call": "weather"}]]
    results = ["user", [{"result": ["foggy in Paris"]}, {"result": ["foggy in Rome"]}]]
    equal(sent_to_claude("foggy")["messages"], [*past, ["user", [later]], calls, results])
    another = await Runner.run(own, "Say hello otherwise.", previous_response_id=first.last_response_id)
    assert another.final_output == SAID
    equal(sent_to_claude("otherwise")["messages"], [*past, ["user", ["Say hello otherwise."]]])


run(text, stream, tools, stream_tools, structured, stream_structured, error, error_in_a_stream)
run(responses_text, responses_stream, responses_tools, responses_stream_tools)
run(responses_structured, responses_stream_structured, responses_error, responses_error_in_a_stream)
run(continued_by_its_id)
