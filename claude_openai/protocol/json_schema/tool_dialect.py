"""Rewrites the schema of a tool for Claude's API, which does not accept alternatives at the top.

Clients send them: a union of zod or pydantic becomes an `anyOf`. The rewritten schema has the properties of all
alternatives, none of them required, and describes the alternatives in text. Arguments are validated against the
client's own schema.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["ALTERNATIVES", "tool_schema"]

ALTERNATIVES: Final = ("anyOf", "oneOf", "allOf")


def tool_schema(parameters: str) -> dict[str, Any]:
    """Return the schema of a tool for Claude's API.

    Args:
        parameters: the client's schema, as JSON.
    """
    schema: dict[str, Any] = json.loads(parameters)
    alternatives: dict[str, Any] = {keyword: schema[keyword] for keyword in ALTERNATIVES if keyword in schema}
    if not alternatives:
        return {"type": "object", **schema}
    offered = {keyword: value for keyword, value in schema.items() if keyword not in alternatives}
    properties: dict[str, Any] = {}
    for part in _parts(alternatives, schema):
        for name, each in part.get("properties", {}).items():
            properties.setdefault(name, each)
    words = f"The arguments must also fit this JSON Schema: {json.dumps(alternatives, separators=(',', ':'))}"
    description = "\n".join(filter(None, (str(schema.get("description", "")), words)))
    merged = {**properties, **schema.get("properties", {})}
    return {"type": "object", **offered, "description": description, **({"properties": merged} if merged else {})}


def _parts(alternatives: Mapping[str, Any], top: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of the alternatives, with references of one step resolved."""
    for keyword in alternatives:
        for part in alternatives[keyword]:
            reference = part.get("$ref") if isinstance(part, dict) else None
            target = _target(reference, top) if isinstance(reference, str) else part
            if isinstance(target, dict) and isinstance(target.get("properties", {}), dict):
                yield target


def _target(reference: str, top: Mapping[str, Any]) -> Any:
    *_, place, name = ("", "", *reference.split("/"))
    definitions = top.get(place)
    return definitions.get(name) if isinstance(definitions, dict) else None
