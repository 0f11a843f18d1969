"""The drafts of JSON Schema, and how the draft of a schema is found: 2020-12 unless the schema names another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema
from jsonschema.validators import validator_for
from referencing import Specification
from referencing.jsonschema import DRAFT3, DRAFT4, DRAFT6, DRAFT7, specification_with

__all__ = ["MAX_URI_CHARS", "Draft", "draft_of"]

# The URI library caches the last URIs, long ones too.
MAX_URI_CHARS: Final = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """The features of one draft.

    Attributes:
        validator: the validator class of jsonschema.
        specification: the rules by which `referencing` resolves references.
        reference_alone: whether keywords beside a `$ref` are ignored.
        whole_floats: whether 1.0 is an integer.
    """

    validator: Any
    specification: Specification[Any]
    reference_alone: bool
    whole_floats: bool

    def knows(self, keyword: str) -> bool:
        """Return whether the keyword is defined in this draft."""
        return keyword in self.validator.VALIDATORS

    def is_type(self, value: Any, name: str) -> bool:
        """Return whether a value is of a type; True for unknown types, which draft 3 allows."""
        # jsonschema's type checker calls Rust code, which panics where Python would raise a RecursionError.
        match name:
            case "boolean":
                return isinstance(value, bool)
            case "integer" if isinstance(value, float):
                return self.whole_floats and value.is_integer()
            case "integer":
                return isinstance(value, int) and not isinstance(value, bool)
            case "null":
                return value is None
            case "number":
                return isinstance(value, int | float) and not isinstance(value, bool)
        return isinstance(value, _TYPES.get(name, object))


def draft_of(schema: Any, default: Draft | None = None) -> Draft:
    """Return the draft that a schema names; the default, or the latest, if it names no known draft."""
    otherwise = _LATEST if default is None else default
    if not isinstance(schema, dict) or not _is_uri(schema.get("$schema")):
        return otherwise
    try:
        return _DRAFTS.get(validator_for(schema, default=None), otherwise)
    except ValueError:  # not a URI
        return otherwise


def _is_uri(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_URI_CHARS


def _draft(validator: Any) -> Draft:
    specification = specification_with(validator.ID_OF(validator.META_SCHEMA))
    alone, floats = specification in (DRAFT3, DRAFT4, DRAFT6, DRAFT7), specification not in (DRAFT3, DRAFT4)
    return Draft(validator, _careful(specification), alone, floats)


def _careful(specification: Specification[Any]) -> Specification[Any]:
    """Return the specification, made safe for values that are not schemas.

    Examples: a list of names in `dependencies`, or a property with the name `$id`.
    """

    def subresources_of(contents: Any) -> Iterator[Any]:
        if isinstance(contents, dict):
            yield from (each for each in specification.subresources_of(contents) if isinstance(each, dict | bool))

    key = "id" if specification in (DRAFT3, DRAFT4) else "$id"

    def id_of(contents: Any) -> str | None:
        if isinstance(contents, dict) and _is_uri(contents.get(key)):
            return specification.id_of(contents)
        return None

    return Specification(  # type: ignore[call-arg]  # mypy does not see that attrs generates its __init__
        name=specification.name,
        id_of=id_of,
        subresources_of=subresources_of,
        maybe_in_subresource=specification.maybe_in_subresource,
        anchors_in=lambda _, contents: specification.anchors_in(contents),
    )


_TYPES: Final[Mapping[str, type]] = {"object": dict, "array": list, "string": str}
_DRAFTS: Final = {
    validator: _draft(validator)
    for validator in (
        jsonschema.Draft3Validator,
        jsonschema.Draft4Validator,
        jsonschema.Draft6Validator,
        jsonschema.Draft7Validator,
        jsonschema.Draft201909Validator,
        jsonschema.Draft202012Validator,
    )
}
_LATEST: Final = _DRAFTS[jsonschema.Draft202012Validator]
