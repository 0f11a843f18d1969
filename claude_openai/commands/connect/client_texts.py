"""The configuration of each client, as the text for its file or for its user.

Pure functions of a `Target`, the server to use. The texts never contain a key, only the name of the variable for it.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claude_openai.protocol.wire.models import USUAL_LIMITS, ModelCatalog

__all__ = [
    "KEY_VARIABLE",
    "PROVIDER",
    "Target",
    "aider_text",
    "by_hand_text",
    "by_id",
    "codex_text",
    "continue_text",
    "is_model_name",
    "litellm_text",
    "llm_text",
    "openai_text",
    "opencode_text",
    "zed_text",
]

KEY_VARIABLE: Final = "CLAUDE_OPENAI_API_KEY"
# The name of the server in the clients. Zed derives the name of the variable above from it.
PROVIDER: Final = "claude-openai"
SMALL_MODEL: Final = "claude-haiku"
_MODEL: Final = re.compile(r"(?!-)[\w.:@/\[\]-]{1,200}", re.ASCII)
# OpenCode offers these for every model with reasoning.
_USUAL_EFFORTS: Final = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Target:
    """The server that a client should use.

    Attributes:
        url: the URL, with `/v1` at its end.
        model: the server's name of the model.
        needs_key: whether the server requires a key.
        models: the objects of its `/v1/models`, by id.
    """

    url: str
    model: str
    needs_key: bool
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: by_id(ModelCatalog("sonnet").model_list(0)))

    def key(self, reference: str) -> str:
        """Return the reference to the key; "none" if the server requires no key, because clients require some value."""
        return reference if self.needs_key else "none"

    def limit(self, model: str, name: str, usual: int) -> int:
        """Return a limit of a model, `usual` if the server does not report it."""
        known = self.models.get(model, {}).get(name)
        return known if isinstance(known, int) else usual

    def context(self, model: str) -> int:
        return self.limit(model, "context_length", USUAL_LIMITS.context)


def by_id(listing: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the models of an answer of `/v1/models` by id. Invalid models, and ids unfit for a file, are ignored."""
    data = listing.get("data")
    models = [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []
    return {model["id"]: model for model in models if is_model_name(model.get("id"))}


def is_model_name(value: object) -> bool:
    """Whether a value is a model name that no configuration could read as a variable, a flag or other syntax."""
    return isinstance(value, str) and _MODEL.fullmatch(value) is not None


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _name(model: str) -> str:
    return model.removeprefix("claude-").capitalize()


def opencode_text(to: Target) -> str:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Claude Code",
        "options": {"baseURL": to.url, "apiKey": to.key(f"{{env:{KEY_VARIABLE}}}")},
        "models": {model: _of_opencode(to, model) for model in dict.fromkeys((to.model, *to.models))},
    }
    return _pretty(
        {
            "$schema": "https://opencode.ai/config.json",
            "model": f"claude/{to.model}",
            "small_model": f"claude/{SMALL_MODEL}",
            "provider": {"claude": provider},
        }
    )


def _of_opencode(to: Target, model: str) -> dict[str, Any]:
    context, output = to.context(model), to.limit(model, "max_output_tokens", USUAL_LIMITS.output)
    # OpenCode compacts a session when its input approaches `input`, for which it otherwise uses `context`.
    limit = {"context": context, "input": context - output, "output": output}
    takes = {"input": ["text", "image", "pdf"], "output": ["text"]}
    features = {"attachment": True, "reasoning": True, "tool_call": True}
    efforts = [each for each in to.models.get(model, {}).get("reasoning_efforts", ()) if each not in _USUAL_EFFORTS]
    variants = {"variants": {each: {"reasoningEffort": each} for each in efforts}} if efforts else {}
    return {"name": _name(model), **features, "modalities": takes, "limit": limit, **variants}


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
      contextLength: {to.context(to.model)}
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
        "max_tokens": to.context(to.model),
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
  API Key         {to.key(f"the key of the server (the value of {KEY_VARIABLE})")}
  Model ID        {to.model}
  Context window  {to.context(to.model)}, if there is such a field; images are supported
"""
