"""The keywords `unevaluatedProperties` and `unevaluatedItems`.

A property or an item is evaluated if another keyword of the schema applies to it, or a keyword of a subschema for which
the same value is valid. The implementations of jsonschema take time quadratic in the length of an array, and match
patterns without a time limit.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema.exceptions import ValidationError

from claude_openai.protocol.json_schema.patterns import has_match
from claude_openai.protocol.json_schema.validator import Validator

__all__ = ["unevaluated_items", "unevaluated_properties"]


def unevaluated_properties(validator: Validator, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    evaluated, inner = _names(validator, instance), validator.at(wanted)
    left = [name for name, value in instance.items() if name not in evaluated and not inner.is_valid(value)]
    if left:
        yield ValidationError(f"Unevaluated properties are not allowed ({_unexpected(left)})")


def unevaluated_items(validator: Validator, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, list):
        return
    evaluated, inner = _indexes(validator, instance), validator.at(wanted)
    left = [item for index, item in enumerate(instance) if index not in evaluated and not inner.is_valid(item)]
    if left:
        yield ValidationError(f"Unevaluated items are not allowed ({_unexpected(left)})")


def _unexpected(left: list[Any]) -> str:
    return f"{', '.join(map(repr, left))} {'was' if len(left) == 1 else 'were'} unexpected"


def _names(validator: Validator, instance: dict[str, Any]) -> set[str]:
    """Return the properties that the other keywords of a schema evaluate."""
    schema = validator.schema
    validator.budget.spend(1 + len(instance))
    if "additionalProperties" in schema:
        return set(instance)
    names: set[str] = instance.keys() & schema.get("properties", {}).keys()
    for pattern in schema.get("patternProperties", ()):
        # If a pattern cannot be matched, the property counts as evaluated, so it is not reported.
        names |= {name for name in instance if has_match(pattern, name, validator.budget) is not False}
    for name, subschema in schema.get("dependentSchemas", {}).items():
        if name in instance:
            names |= _all_names(validator.at(subschema), instance)
    for part in _parts(validator, instance):
        names |= _all_names(part, instance)
    return names


def _all_names(validator: Validator, instance: dict[str, Any]) -> set[str]:
    """Return the properties that a schema evaluates for which the instance is valid."""
    if not isinstance(validator.schema, dict):
        return set()
    return set(instance) if "unevaluatedProperties" in validator.schema else _names(validator, instance)


def _indexes(validator: Validator, instance: list[Any]) -> set[int]:
    """Return the indexes of the items that the other keywords of a schema evaluate."""
    schema = validator.schema
    validator.budget.spend(1 + len(instance))
    items = schema.get("items")
    if "items" in schema and (not isinstance(items, list) or "additionalItems" in schema):
        return set(range(len(instance)))
    prefix = schema.get("prefixItems", ()) if validator.knows("prefixItems") else items or ()
    indexes = set(range(min(len(prefix), len(instance))))
    if "contains" in schema:
        contained = validator.at(schema["contains"])
        indexes |= {index for index, item in enumerate(instance) if contained.is_valid(item)}
    for part in _parts(validator, instance):
        indexes |= _all_indexes(part, instance)
    return indexes


def _all_indexes(validator: Validator, instance: list[Any]) -> set[int]:
    """Return the indexes of the items that a schema evaluates for which the instance is valid."""
    if not isinstance(validator.schema, dict):
        return set()
    return set(range(len(instance))) if "unevaluatedItems" in validator.schema else _indexes(validator, instance)


def _parts(validator: Validator, instance: Any) -> Iterator[Validator]:
    """Yield the subschemas that apply to the instance itself and for which it is valid."""
    schema = validator.schema
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema and validator.knows(keyword):
            yield validator.follow(schema[keyword])
    if "$recursiveRef" in schema and validator.knows("$recursiveRef"):
        yield validator.follow_recursive()
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from filter(lambda part: part.is_valid(instance), map(validator.at, schema.get(keyword, ())))
    if "if" in schema:
        condition = validator.at(schema["if"])
        fits = condition.is_valid(instance)
        if fits:
            yield condition
        branch = "then" if fits else "else"
        if branch in schema:
            yield validator.at(schema[branch])
