"""What a named key may use: checks of requests, before they become turns."""

from claude_openai.errors import Forbidden
from claude_openai.keys.key import Key
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.wire.models import ModelCatalog

__all__ = ["allows_model", "check_model"]


def check_model(key: Key, asked: str, catalog: ModelCatalog) -> None:
    """Check that a key may use a model.

    Raises:
        Forbidden: it may not.
        ModelNotFound: there is no such model.
    """
    if not allows_model(key, asked, catalog):
        raise Forbidden(
            f"The key of {key.name!r} may not use the model {shorten(asked)}; allowed: {', '.join(key.models)}",
            hint="`GET /v1/models` lists the models for this key.",
            code="model_not_allowed",
            param="model",
        )


def allows_model(key: Key, asked: str, catalog: ModelCatalog) -> bool:
    """Return whether a key may use a model: a pattern matches its requested name, Claude Code's, or the full id.

    Raises:
        ModelNotFound: there is no such model.
    """
    if not key.models:
        return True
    resolved = catalog.resolve(asked)
    return key.allows_model(asked, resolved, catalog.full_id(resolved))
