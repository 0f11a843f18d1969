"""A test of an agent of openai-agents; `python -m tests.clients openai-agents` runs it."""

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, function_tool
from openai import AsyncOpenAI

from claude_openai.testing import ToolUse, running_fake_claude


@function_tool
def weather(city: str) -> str:
    """Return the weather in a city."""
    return f"sunny in {city}"


def test_openai_agents():
    with running_fake_claude(ToolUse("weather", {"city": "Oslo"}), "Take a hat.") as claude:
        client = AsyncOpenAI(base_url=claude.url, api_key=claude.api_key)
        agent = Agent("helper", model=OpenAIResponsesModel("claude-sonnet", client), tools=[weather])
        config = RunConfig(tracing_disabled=True)  # or it sends traces to OpenAI
        assert Runner.run_sync(agent, "What do I need in Oslo?", run_config=config).final_output == "Take a hat."
        assert list(claude.last.tool_results.values()) == ["sunny in Oslo"]
