"""Replacements for keywords of jsonschema that a server cannot use, with work bounded by a budget.

jsonschema compares all pairs of values, matches patterns without a time limit, and computes with floats. Its other
keywords are used unchanged. A keyword is called with the validator of its schema, its value, the instance and the
schema, and yields errors.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, DecimalException
from functools import cache
from typing import Any, Final, TypeAlias

from jsonschema.exceptions import ValidationError

from claude_openai.protocol.json_schema.drafts import Draft
from claude_openai.protocol.json_schema.formats import has_format
from claude_openai.protocol.json_schema.patterns import has_match
from claude_openai.protocol.json_schema.unevaluated import unevaluated_items, unevaluated_properties
from claude_openai.protocol.json_schema.validator import Keyword, Validator

__all__ = ["keywords_of"]

_Problems: TypeAlias = Iterator[ValidationError]


@cache
def keywords_of(draft: Draft) -> Mapping[str, Keyword]:
    """Return the implementation of each keyword of a draft."""
    known: Mapping[str, Keyword] = draft.validator.VALIDATORS
    return {name: _OWN.get(name, keyword) for name, keyword in known.items()}


def _reference(validator: Validator, reference: str, instance: Any, schema: Any) -> _Problems:
    return validator.follow(reference).iter_errors(instance)


def _recursive_reference(validator: Validator, _: Any, instance: Any, schema: Any) -> _Problems:
    return validator.follow_recursive().iter_errors(instance)


def _enum(validator: Validator, allowed: list[Any], instance: Any, _: Any) -> _Problems:
    if validator.spell(instance) not in validator.spell_all(allowed):
        yield ValidationError(f"{instance!r} is not one of {allowed!r}")


def _const(validator: Validator, expected: Any, instance: Any, _: Any) -> _Problems:
    if validator.spell(instance) != validator.spell(expected):
        yield ValidationError(f"{expected!r} was expected")


def _unique_items(validator: Validator, wanted: bool, instance: Any, _: Any) -> _Problems:
    if wanted and isinstance(instance, list) and len({validator.spell(item) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _multiple_of(validator: Validator, step: Any, instance: Any, _: Any) -> _Problems:
    # With decimal digits, because as floats 0.3 is not a multiple of 0.1.
    if validator.is_type(instance, "number"):
        try:
            rest = Decimal(repr(instance)) % Decimal(repr(step))
        except DecimalException:  # their magnitudes differ by more than the precision of Decimal
            return
        if rest:
            yield ValidationError(f"{instance!r} is not a multiple of {step!r}")


def _format(validator: Validator, name: Any, instance: Any, _: Any) -> _Problems:
    if isinstance(instance, str):
        validator.budget.spend(len(instance) // 100)
        if not has_format(name, instance, validator.budget):
            yield ValidationError(f"{instance!r} is not of the format {name!r}")


def _pattern(validator: Validator, pattern: str, instance: Any, _: Any) -> _Problems:
    if isinstance(instance, str) and has_match(pattern, instance, validator.budget) is False:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Validator, patterns: Any, instance: Any, _: Any) -> _Problems:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if has_match(pattern, name, validator.budget):
                    yield from validator.descend(value, subschema, path=name)


def _additional_properties(validator: Validator, allowed: Any, instance: Any, schema: Any) -> _Problems:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    others = [name for name in instance if name not in known]
    # If a pattern cannot be matched, the property may be covered by it, so it is not reported.
    extras = [
        name for name in others if all(has_match(pattern, name, validator.budget) is False for pattern in patterns)
    ]
    if isinstance(allowed, dict):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and extras:
        unexpected = f"{', '.join(map(repr, extras))} {'was' if len(extras) == 1 else 'were'} unexpected"
        yield ValidationError(f"Additional properties are not allowed ({unexpected})")


_OWN: Final[Mapping[str, Keyword]] = {
    "$ref": _reference,
    "$dynamicRef": _reference,
    "$recursiveRef": _recursive_reference,
    "enum": _enum,
    "const": _const,
    "uniqueItems": _unique_items,
    "multipleOf": _multiple_of,
    "divisibleBy": _multiple_of,
    "format": _format,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedItems": unevaluated_items,
    "unevaluatedProperties": unevaluated_properties,
}
