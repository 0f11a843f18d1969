"""A test of an agent of pydantic-ai; `python -m tests.clients pydantic-ai` runs it."""

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from claude_openai.testing import ToolUse, running_fake_claude


def weather(city: str) -> str:
    """Return the weather in a city."""
    return f"sunny in {city}"


def test_pydantic_ai():
    with running_fake_claude(ToolUse("weather", {"city": "Oslo"}), "Take a hat.") as claude:
        provider = OpenAIProvider(base_url=claude.url, api_key=claude.api_key)
        agent = Agent(OpenAIResponsesModel("claude-sonnet", provider=provider), tools=[weather])
        assert agent.run_sync("What do I need in Oslo?").output == "Take a hat."
        assert list(claude.last.tool_results.values()) == ["sunny in Oslo"]
