"""The model names that clients may use, and the name of each on Claude Code's command line.

A name is an alias, a Claude model id, or listed by Claude Code; Claude decides whether the account may use it. Every
resolved name is safe as an argument of a command: it is not empty, does not begin with a dash, and contains no space or
control character.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final

from claude_openai.errors import ConfigError, ModelNotFound
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.wire.model_records import MAX_MODELS, MAX_NAME_CHARS, Limits, Model, is_safe_name

__all__ = ["ALIASES", "USUAL_LIMITS", "ModelCatalog"]

DEFAULT_NAME: Final = "claude"
ALIASES: Final = ("sonnet", "opus", "haiku", "fable")
MODALITIES: Final = {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]}

_OWN: Final = "claude-"
_LONG: Final = "[1m]"
# At least one digit: without one, `claude-something` is more likely a typing error than a model id.
_CLAUDE_ID: Final = re.compile(r"claude-(?=[a-z.@-]*[0-9])[a-z0-9.@-]{1,128}(?:\[1m\])?")

# As Claude Code 2.1.332 reports them, with an API key or an OAuth token. The installed version's report replaces them.
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_RESOLVED: Final = {
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
}
_FAST: Final = ("opus", "fable")
_START: Final = tuple(Model(alias, resolved, _EFFORTS, alias in _FAST) for alias, resolved in _RESOLVED.items())
USUAL_LIMITS: Final = Limits(1_000_000, 128_000)
_START_LIMITS: Final = dict.fromkeys(_RESOLVED.values(), USUAL_LIMITS)


@dataclass(frozen=True, slots=True)
class ModelCatalog:
    """The names of models that clients may use.

    Args:
        default_model: the model for the name `claude`: an alias, a Claude model id, or a name in `override`.
        override: the names to list instead of the others. They are passed to Claude unchanged. Aliases, Claude model
            ids and the models that Claude Code lists can be used whether they are in it or not.
        models: the models that Claude Code has listed.
        limits: keyed by the id of the model, or by the requested name.

    Raises:
        ConfigError: a name cannot be an argument of a command, or `default_model` is not known.
    """

    default_model: str
    override: tuple[str, ...] = ()
    models: tuple[Model, ...] = _START
    limits: Mapping[str, Limits] = field(default_factory=_START_LIMITS.copy)

    def __post_init__(self) -> None:
        for name in self.override:
            if not is_safe_name(name):
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

    def with_models(self, listed: Sequence[Model], started_with: str) -> "ModelCatalog":
        """Return the catalog with models that Claude Code lists.

        Known models are never removed, because the list depends on the process: on Bedrock `sonnet` is listed only by a
        process that was started with it; on Vertex AI `opus` is not listed, but works (2.1.332).

        Args:
            listed: the models that a process lists.
            started_with: the model with which the process was started; the process lists it even if it does not exist.
                So it is not added unless it is known already: it may be a client's typing error.
        """
        known = {model.name: model for model in self.models}
        new = {model.name: model for model in listed if model.name != started_with or model.name in known}
        return replace(self, models=tuple({**known, **new}.values())[:MAX_MODELS])

    def with_limits(self, limits: Mapping[str, Limits]) -> "ModelCatalog":
        """Return the catalog with limits that Claude Code reports, which replace earlier ones."""
        kept = [(name, value) for name, value in self.limits.items() if name not in limits]
        return replace(self, limits=dict([*kept, *limits.items()][-MAX_MODELS:]))

    def resolve(self, asked: str) -> str:
        """Return Claude Code's name of the model that a client requested.

        Raises:
            ModelNotFound: the name is neither an alias nor a Claude model id, nor in the override, nor listed by Claude
                Code.
        """
        found = self._lookup(asked)
        if found is None and asked == DEFAULT_NAME:
            found = self._lookup(self.default_model)
        if found is None:
            similar = get_close_matches(asked[:MAX_NAME_CHARS], self.listing(), n=1)
            hint = f" Did you mean {similar[0]!r}?" if similar else ""
            message = f"The model {shorten(asked)} does not exist.{hint} GET /v1/models lists the models."
            raise ModelNotFound(message, param="model")
        return found

    def listing(self) -> list[str]:
        """Return the ids for GET /v1/models, each once: the override, or else the models that Claude Code lists."""
        return list(dict.fromkeys(self.override or map(self._public_name, self.models)))

    def model_object(self, asked: str, created: int) -> dict[str, Any]:
        """Return the model object of `/v1/models`; `created` is in whole seconds since 1970.

        Besides OpenAI's keys it has the limits, modalities, levels of effort and fast mode, if they are known.

        Raises:
            ModelNotFound: see `resolve`.
        """
        name = self.resolve(asked)
        named = {model.name: model for model in self.models}
        model = named.get(name) or named.get(name.removesuffix(_LONG))
        limits = self.limits.get(name) or (None if model is None else self.limits.get(model.resolved))
        known: dict[str, Any] = {"id": asked, "object": "model", "created": created, "owned_by": "anthropic"}
        if limits is not None:
            known |= {"context_length": limits.context, "max_output_tokens": limits.output}
        if model is not None or limits is not None:
            known |= MODALITIES
        if model is not None and model.efforts:
            known["reasoning_efforts"] = list(model.efforts)
        has_fast_mode = self.has_fast_mode(name)
        if model is not None or has_fast_mode:
            known["fast_mode"] = has_fast_mode
        return known

    def model_list(self, created: int) -> dict[str, Any]:
        """Return the list object of `/v1/models`; `created` is in whole seconds since 1970, the same for all models."""
        return {"object": "list", "data": [self.model_object(name, created) for name in self.listing()]}

    def full_id(self, name: str) -> str:
        """Return the full id of the model of a resolved name, without `[1m]`; the name itself if it is unknown."""
        short = name.removesuffix(_LONG)
        named = {model.name: model.resolved for model in self.models}
        return (named.get(name) or named.get(short) or short).removesuffix(_LONG)

    def has_fast_mode(self, name: str) -> bool:
        """Return whether the model of a resolved name is known to have fast mode."""
        full = self.full_id(name)
        return any(model.fast and self.full_id(model.name) == full for model in self.models)

    def _lookup(self, name: str) -> str | None:
        short = name.removesuffix(_LONG)
        alias = short.removeprefix(_OWN)
        if alias in (*ALIASES, "best") or any(_is_alias(model, alias) for model in self.models):
            return alias + name[len(short) :]
        names = (*self.override, *(model.name for model in self.models))
        return name if (name in names and name != DEFAULT_NAME) or _CLAUDE_ID.fullmatch(name) else None

    @staticmethod
    def _public_name(model: Model) -> str:
        short = model.name.removesuffix(_LONG)
        return _OWN + model.name if short in ALIASES or _is_alias(model, short) else model.name


def _is_alias(model: Model, alias: str) -> bool:
    """Return whether `alias` is the name of a model family, like `sonnet`, and `model` has this name."""
    return alias != "" and model.name.removesuffix(_LONG) == alias and f"{_OWN}{alias}" in model.resolved
