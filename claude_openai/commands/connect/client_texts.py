"""The configuration of each client, as the text that its file, or its user, needs.

Pure functions of the server a client is to use. A key is in none of them, only the name of the variable that holds it.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.protocol.models import ALIASES, CONTEXT_TOKENS, OUTPUT_TOKENS

__all__ = [
    "KEY_VARIABLE",
    "PROVIDER",
    "Target",
    "aider_text",
    "by_hand_text",
    "codex_text",
    "continue_text",
    "litellm_text",
    "llm_text",
    "openai_text",
    "opencode_text",
    "zed_text",
]

KEY_VARIABLE: Final = "CLAUDE_OPENAI_API_KEY"
# What the server is called in a client. Zed makes the name of the variable above from it.
PROVIDER: Final = "claude-openai"
SMALL_MODEL: Final = "claude-haiku"


@dataclass(frozen=True, slots=True)
class Target:
    """The server a client is to use.

    Attributes:
        url: with the `/v1` at its end.
        model: as the server knows it.
        needs_key: the server asks for one.
    """

    url: str
    model: str
    needs_key: bool

    def key(self, reference: str) -> str:
        """The reference, or a word for clients that must have some key."""
        return reference if self.needs_key else "none"


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _name(model: str) -> str:
    return model.removeprefix("claude-").capitalize()


def opencode_text(to: Target) -> str:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Claude Code",
        "options": {"baseURL": to.url, "apiKey": to.key(f"{{env:{KEY_VARIABLE}}}")},
        "models": {model: _of_opencode(model) for model in dict.fromkeys((to.model, *ALIASES))},
    }
    return _pretty(
        {
            "$schema": "https://opencode.ai/config.json",
            "model": f"claude/{to.model}",
            "small_model": f"claude/{SMALL_MODEL}",
            "provider": {"claude": provider},
        }
    )


def _of_opencode(model: str) -> dict[str, Any]:
    # A session is made shorter when its input comes near to its limit, which OpenCode takes for the context otherwise.
    limit = {"context": CONTEXT_TOKENS, "input": CONTEXT_TOKENS - OUTPUT_TOKENS, "output": OUTPUT_TOKENS}
    takes = {"input": ["text", "image", "pdf"], "output": ["text"]}
    features = {"attachment": True, "reasoning": True, "tool_call": True}
    return {"name": _name(model), **features, "modalities": takes, "limit": limit}


def codex_text(to: Target) -> str:
    values = {"name": "Claude Code", "base_url": to.url, "wire_api": "responses"}
    if to.needs_key:
        values["env_key"] = KEY_VARIABLE
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[model_providers.{PROVIDER}]", *lines, ""])


def continue_text(to: Target) -> str:
    return f"""\
name: Claude Code
version: 0.0.1
schema: v1
models:
  - name: Claude Code
    provider: openai
    model: {json.dumps(to.model)}
    apiBase: {json.dumps(to.url)}
    apiKey: {to.key(f"${{{{ secrets.{KEY_VARIABLE} }}}}")}
    roles: [chat, edit, apply]
    capabilities: [tool_use, image_input]
    defaultCompletionOptions:
      contextLength: {CONTEXT_TOKENS}
"""


def aider_text(to: Target) -> str:
    lines = [
        f"model: {json.dumps(f'openai/{to.model}')}",
        f"weak-model: {json.dumps(f'openai/{SMALL_MODEL}')}",
        f"openai-api-base: {json.dumps(to.url)}",
    ]
    return "\n".join([*lines, *([] if to.needs_key else ["openai-api-key: none"]), ""])


def llm_text(to: Target) -> str:
    lines = [
        "- model_id: claude-code",
        f"  model_name: {json.dumps(to.model)}",
        f"  api_base: {json.dumps(to.url)}",
        *([f"  api_key_name: {PROVIDER}"] if to.needs_key else []),
        *("  vision: true", "  supports_schema: true", "  supports_tools: true"),
    ]
    return "\n".join([*lines, ""])


def zed_text(to: Target) -> str:
    able = {"tools": True, "images": True, "parallel_tool_calls": True, "prompt_cache_key": False}
    model = {
        "name": to.model,
        "display_name": f"Claude Code {_name(to.model)}",
        "max_tokens": CONTEXT_TOKENS,
        "capabilities": able,
    }
    provider = {"api_url": to.url, "available_models": [model]}
    return _pretty({"language_models": {"openai_compatible": {PROVIDER: provider}}})


def openai_text(to: Target) -> str:
    key = f'"${KEY_VARIABLE}"' if to.needs_key else "none"
    return f"export OPENAI_BASE_URL={shlex.quote(to.url)}\nexport OPENAI_API_KEY={key}\n"


def litellm_text(to: Target) -> str:
    return f"""\
model_list:
  - model_name: {json.dumps(to.model)}
    litellm_params:
      model: {json.dumps(f"openai/{to.model}")}
      api_base: {json.dumps(to.url)}
      api_key: {to.key(f"os.environ/{KEY_VARIABLE}")}
"""


def by_hand_text(to: Target) -> str:
    return f"""\
In its settings (the gear):
  API Provider    OpenAI Compatible
  Base URL        {to.url}
  API Key         {to.key(f"the server's key, which is the value of {KEY_VARIABLE}")}
  Model ID        {to.model}
  Context window  {CONTEXT_TOKENS}, if it asks; it may send images
"""
