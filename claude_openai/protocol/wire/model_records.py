"""Reads the models that Claude Code reports: the list in its answer to `initialize`, and the limits in a result.

Both formats may change with any version of Claude Code, so entries of an unknown form are skipped. The number of
entries and the length of names are bounded, and each name is safe as an argument of a command.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeGuard, get_args

from claude_openai.protocol.turn.claude_options import ReasoningEffort

__all__ = ["MAX_MODELS", "MAX_NAME_CHARS", "Limits", "Model", "is_safe_name", "read_limits", "read_models"]

MAX_NAME_CHARS: Final = 256
MAX_MODELS: Final = 64
MAX_TOKENS: Final = 1_000_000_000
# Claude Code's name of the account's default model. It is not listed, because this server's default is `claude`.
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that Claude Code lists.

    Attributes:
        name: an alias or an id, as accepted by `--model`.
        resolved: the id to which the name resolves; "" if unknown.
        efforts: the supported levels of `reasoning_effort`, from the lowest; empty if there are none.
        fast: whether it has fast mode.
    """

    name: str
    resolved: str = ""
    efforts: tuple[str, ...] = ()
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """The context window of a model and the limit of one answer, in tokens."""

    context: int
    output: int


def is_safe_name(name: str) -> bool:
    """Return whether a name can be an argument of a command: printable ASCII without spaces, and not a flag."""
    return re.fullmatch(rf"(?!-)[!-~]{{1,{MAX_NAME_CHARS}}}", name) is not None


def read_models(listed: object) -> tuple[Model, ...] | None:
    """Return the `models` of an answer to `initialize`, each name once; None if it is not a list with a valid model."""
    if not isinstance(listed, list):
        return None
    models = {model.name: model for entry in listed[:MAX_MODELS] if (model := _model(entry)) is not None}
    return tuple(models.values()) or None


def read_limits(usage: object) -> dict[str, Limits]:
    """Return the limits in the `modelUsage` of a result, keyed by the id of the model."""
    entries = list(usage.items())[:MAX_MODELS] if isinstance(usage, dict) else []
    return {name: limits for name, value in entries if is_safe_name(name) and (limits := _limits(value)) is not None}


def _model(entry: object) -> Model | None:
    if not isinstance(entry, dict):
        return None
    name, resolved, efforts = (entry.get(key) for key in ("value", "resolvedModel", "supportedEffortLevels"))
    if not isinstance(name, str) or not is_safe_name(name) or name == _DEFAULT:
        return None
    return Model(
        name,
        resolved if isinstance(resolved, str) and is_safe_name(resolved) else "",
        # Levels that a request cannot contain are useless to clients.
        tuple(each for each in get_args(ReasoningEffort) if each in efforts) if isinstance(efforts, list) else (),
        entry.get("supportsFastMode") is True,
    )


def _limits(value: object) -> Limits | None:
    if not isinstance(value, dict):
        return None
    context, output = value.get("contextWindow"), value.get("maxOutputTokens")
    return Limits(context, output) if _is_count(context) and _is_count(output) else None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TOKENS
