"""The model names clients may ask for, and the name each stands for on Claude's command line.

Knows the aliases and the shape of a Claude model id; not which ids exist at the moment: that is Claude's to say. Every
name that leaves here is safe as one argument of a command: it is not empty, begins with no dash and holds no space or
control character.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.errors import ConfigError, ModelNotFound
from claude_openai.protocol.refusals import shorten

MAX_NAME_CHARS: Final = 256
DEFAULT_NAME: Final = "claude"
ALIASES: Final = {
    "claude-sonnet": "sonnet",
    "claude-opus": "opus",
    "claude-haiku": "haiku",
    "claude-fable": "fable",
}
# What Claude Code 2.1.332 says of the model that each of its names stands for (`modelUsage` of a result).
CONTEXT_TOKENS: Final = 1_000_000
OUTPUT_TOKENS: Final = 128_000
MODALITIES: Final = {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]}

_BARE: Final = frozenset({*ALIASES.values(), "best"})
_LONG: Final = "[1m]"
# One digit at least: `claude-something` is more likely a typing error than an id Claude knows.
_CLAUDE_ID: Final = re.compile(r"claude-(?=[a-z.@-]*[0-9])[a-z0-9.@-]{1,128}(?:\[1m\])?")


@dataclass(frozen=True, slots=True)
class ModelCatalog:
    """Which names are served.

    Args:
        default_model: what `claude` stands for: an alias, a Claude model id, or one of `override`.
        override: the names that are listed, in place of the aliases. It narrows nothing: aliases and Claude model ids
            are served whether listed or not. A name that is neither is given to Claude as it is.

    Raises:
        ConfigError: a name cannot be a command's argument, or `default_model` stands for nothing.
    """

    default_model: str
    override: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.override:
            if not _is_safe(name):
                raise ConfigError(
                    f"CLAUDE_MODELS_OVERRIDE: model name {shorten(name)} cannot be used: it must be"
                    f" 1 to {MAX_NAME_CHARS} printable ASCII characters without spaces, and not begin with '-'"
                )
        if self._lookup(self.default_model) is None:
            raise ConfigError(
                "--default-model / CLAUDE_OPENAI_DEFAULT_MODEL or CLAUDE_DEFAULT_MODEL:"
                f" {shorten(self.default_model)} is not known: use sonnet, opus, haiku or a full Claude model id,"
                " or add the name to CLAUDE_MODELS_OVERRIDE"
            )

    def resolve(self, asked: str) -> str:
        """The name to give to Claude for the one a client asked for.

        Raises:
            ModelNotFound: it is no alias, no Claude model id and not in the override.
        """
        found = self._lookup(asked)
        if found is None and asked == DEFAULT_NAME:
            found = self._lookup(self.default_model)
        if found is None:
            message = f"The model {shorten(asked)} does not exist. Ask GET /v1/models for the names this server knows."
            raise ModelNotFound(message, param="model")
        return found

    def listing(self) -> list[str]:
        """The ids for GET /v1/models: the override, or without one the aliases; each once."""
        return list(dict.fromkeys(self.override or ALIASES))

    def _lookup(self, name: str) -> str | None:
        short = name.removesuffix(_LONG)
        if short in ALIASES or short in _BARE:
            return ALIASES.get(short, short) + name[len(short) :]
        is_own = name in self.override and name != DEFAULT_NAME
        return name if is_own or _CLAUDE_ID.fullmatch(name) else None


def model_object(model_id: str, created: int) -> dict[str, Any]:
    """One model of `/v1/models`; `created` in whole seconds since 1970.

    Beside OpenAI's keys it has the limits and modalities of the names whose models are known.
    """
    model: dict[str, Any] = {"id": model_id, "object": "model", "created": created, "owned_by": "anthropic"}
    short = model_id.removesuffix(_LONG)
    if short not in ALIASES and short not in _BARE and short != DEFAULT_NAME:
        return model
    return {**model, "context_length": CONTEXT_TOKENS, "max_output_tokens": OUTPUT_TOKENS, **MODALITIES}


def model_list(model_ids: Iterable[str], created: int) -> dict[str, Any]:
    """The answer of `/v1/models`, in the order given; `created` in whole seconds since 1970, the same for all."""
    return {"object": "list", "data": [model_object(model_id, created) for model_id in model_ids]}


def _is_safe(name: str) -> bool:
    return re.fullmatch(rf"(?!-)[!-~]{{1,{MAX_NAME_CHARS}}}", name) is not None
