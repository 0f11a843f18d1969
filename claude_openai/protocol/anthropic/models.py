"""The model objects of Claude's API, made from those of OpenAI's, which `models.ModelCatalog` returns."""

from collections.abc import Mapping
from typing import Any

__all__ = ["model_list", "model_object"]


def model_object(model: Mapping[str, Any], created_at: str) -> dict[str, Any]:
    """Return a model object.

    Args:
        model: OpenAI's model object.
        created_at: when the server started, as in RFC 3339.
    """
    return {
        "type": "model",
        "id": model["id"],
        "display_name": model["id"],
        "created_at": created_at,
        "lifecycle": "active",
        "max_input_tokens": model.get("context_length"),
        "max_tokens": model.get("max_output_tokens"),
    }


def model_list(models: Mapping[str, Any], created_at: str) -> dict[str, Any]:
    """Return the list of all models, on one page.

    Args:
        models: OpenAI's list object.
        created_at: see `model_object`.
    """
    data = [model_object(model, created_at) for model in models["data"]]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": False, "first_id": first, "last_id": last}
