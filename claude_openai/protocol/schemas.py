"""JSON Schema for tools: is a schema one that can be used, and do arguments fit it.

Draft 2020-12 unless a schema names another. A schema never makes this process fetch anything: a reference to elsewhere
is an error. Loaded when the first tools come, since jsonschema takes a tenth of a second to import.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

__all__ = ["ArgumentValidator", "schema_problem"]

SHOWN_PROBLEMS: Final = 3
SHOWN_CHARS: Final = 300
_PATTERNS: Final = ("pattern", "patternProperties")


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """Why a schema cannot be used, None if it can."""
    try:
        validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(
            schema, format_checker=jsonschema.FormatChecker(formats=())
        )
        _look_up_references(schema)
        list(ArgumentValidator(schema).errors({}))
    except SchemaError as error:
        return f"is not a valid JSON Schema: {error.message[:SHOWN_CHARS]} (at {error.json_path})."
    except (Unresolvable, RecursionError) as error:
        return f"cannot be used as a schema: {error}. Put what it refers to into the schema itself."
    return None


def _look_up_references(schema: Mapping[str, Any]) -> None:
    """Look up all of them, since arguments may meet any."""
    specification = specification_with(str(schema.get("$schema", "")), default=DRAFT202012)
    root = specification.create_resource(schema)
    waiting = [(root, Registry().resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        if isinstance(resource.contents, Mapping):
            for keyword in ("$ref", "$dynamicRef"):
                reference = resource.contents.get(keyword)
                if isinstance(reference, str):
                    resolver.lookup(reference)
        waiting.extend((inner, resolver.in_subresource(inner)) for inner in resource.subresources())


def _skipping_foreign_patterns(check: Callable[..., Iterable[ValidationError]]) -> Callable[..., Any]:
    """Schemas come from other languages too, whose patterns (`\\p{L}`) Python may not know: those are not checked."""

    def checked(*arguments: Any) -> Iterator[ValidationError]:
        with suppress(re.error):
            yield from check(*arguments) or ()

    return checked


class ArgumentValidator:
    """Checks arguments against one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        draft = validator_for(schema, default=jsonschema.Draft202012Validator)
        lenient = {keyword: _skipping_foreign_patterns(draft.VALIDATORS[keyword]) for keyword in _PATTERNS}
        self._validator = extend(draft, lenient)(schema, registry=Registry())

    def errors(self, arguments: Mapping[str, Any]) -> Iterable[ValidationError]:
        """What does not fit.

        Raises:
            RecursionError: the schema refers to itself without end, or the arguments are too deep.
        """
        found: Iterable[ValidationError] = self._validator.iter_errors(arguments)
        return found

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What does not fit, in words for Claude, None if all does."""
        try:
            found = sorted(self.errors(arguments), key=lambda error: error.json_path)
        except RecursionError:
            return "they are nested too deeply to be checked"
        shown = [f"{error.json_path}: {error.message[:SHOWN_CHARS]}" for error in found[:SHOWN_PROBLEMS]]
        return "; ".join(shown) or None
