"""JSON Schema for tools and forms: is a schema one that can be used, and does a value fit it.

Draft 2020-12 unless a schema names another. A schema is a stranger's program: it never makes this process fetch
anything (a reference to elsewhere is an error), and never holds it up for long (references followed are counted, and a
pattern has a time limit). What was found of a schema is kept by its text, since clients send the same tools with every
request. Loaded when the first tools come, since jsonschema takes a tenth of a second to import.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any, Final, TypeAlias

import jsonschema
import regex
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

from claude_openai.protocol.formats import has_format

__all__ = ["ArgumentValidator", "schema_problem", "validator_of", "without_panics"]

_Keyword: TypeAlias = Callable[..., Iterable[ValidationError]]

SHOWN_PROBLEMS: Final = 3
SHOWN_CHARS: Final = 300
# Following one takes about 20 µs, and a few lines of `allOf` can ask for millions.
MAX_REFERENCES: Final = 20_000
PATTERN_TIMEOUT_S: Final = 0.1
# Of so many schemas, none longer than this, what was found is kept: a few MB in all.
KEPT_SCHEMAS: Final = 256
KEPT_CHARS: Final = 16 * 1024


class _TooMuchWork(Exception):
    """Checking a value against a schema would take too long."""


@contextmanager
def without_panics() -> Iterator[None]:
    """Make a RecursionError of the panic that the library behind `referencing`, which is not Python, makes of one.

    A panic is no Exception, so that nothing else would keep it from ending the server.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise RecursionError("maximum recursion depth exceeded") from None
        raise


def schema_problem(schema: str) -> str | None:
    """Why a schema, given as JSON, cannot be used; None if it can."""
    return (_kept_problem if len(schema) <= KEPT_CHARS else _schema_problem)(schema)


def validator_of(schema: str) -> "ArgumentValidator":
    """What checks values against a schema, given as JSON, that can be used."""
    return (_kept_validator if len(schema) <= KEPT_CHARS else _validator)(schema)


def _schema_problem(text: str) -> str | None:
    schema = json.loads(text)
    try:
        with without_panics():
            validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(
                schema, format_checker=jsonschema.FormatChecker(formats=())
            )
            _look_up_references(schema)
            list(validator_of(text).errors({}))
    except SchemaError as error:
        return f"is not a valid JSON Schema: {error.message[:SHOWN_CHARS]} (at {error.json_path})."
    except (Unresolvable, RecursionError) as error:
        return f"cannot be used as a schema: {error}. Put what it refers to into the schema itself."
    except _TooMuchWork as error:
        return f"cannot be used as a schema: {error}. Send a simpler one."
    return None


def _validator(text: str) -> "ArgumentValidator":
    return ArgumentValidator(json.loads(text))


_kept_problem: Final = lru_cache(KEPT_SCHEMAS)(_schema_problem)
_kept_validator: Final = lru_cache(KEPT_SCHEMAS)(_validator)


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


class ArgumentValidator:
    """Checks arguments against one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        draft = validator_for(schema, default=jsonschema.Draft202012Validator)
        self._validator = _careful(draft)(schema, registry=Registry())

    def errors(self, arguments: Mapping[str, Any]) -> Iterator[ValidationError]:
        """What does not fit.

        Raises:
            RecursionError: the schema refers to itself without end, or the arguments are too deep.
            _TooMuchWork: the schema asks for too much.
        """
        _references.left = MAX_REFERENCES
        yield from self._validator.iter_errors(arguments)

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What does not fit, in words for Claude, None if all does."""
        try:
            with without_panics():
                found = sorted(self.errors(arguments), key=lambda error: error.json_path)
        except RecursionError:
            return "they are nested too deeply to be checked"
        except _TooMuchWork as error:
            return str(error)
        shown = [f"{error.json_path}: {error.message[:SHOWN_CHARS]}" for error in found[:SHOWN_PROBLEMS]]
        return "; ".join(shown) or None


class _References:
    """How many more the check under way may follow: checks are synchronous, so one at a time."""

    left = 0


_references: Final = _References()


@lru_cache
def _careful(draft: Any) -> Any:
    """The validator of a draft, made safe for the schemas of strangers."""
    own: dict[str, _Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "multipleOf": _multiple_of,
        "format": _format,
    }
    references = [keyword for keyword in ("$ref", "$dynamicRef", "$recursiveRef") if keyword in draft.VALIDATORS]
    return extend(draft, own | {keyword: _counted(draft.VALIDATORS[keyword]) for keyword in references})


def _counted(follow: _Keyword) -> _Keyword:
    def counted(*arguments: Any) -> Iterator[ValidationError]:
        _references.left -= 1
        if _references.left < 0:
            raise _TooMuchWork(f"checking it takes more than {MAX_REFERENCES} steps along its references")
        yield from follow(*arguments) or ()

    return counted


def _has_match(pattern: str, text: str) -> bool | None:
    """Whether the pattern is in the text; None if it is of another language's, or takes too long."""
    try:
        return regex.search(pattern, text, timeout=PATTERN_TIMEOUT_S) is not None
    except (regex.error, TimeoutError):
        return None


def _multiple_of(validator: Any, step: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    # By digits: as floats 0.3 is no multiple of 0.1.
    if validator.is_type(instance, "number"):
        try:
            rest = Decimal(repr(instance)) % Decimal(repr(step))
        except DecimalException:  # further apart than digits reach
            return
        if rest:
            yield ValidationError(f"{instance!r} is not a multiple of {step!r}")


def _format(validator: Any, name: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not has_format(name, instance):
        yield ValidationError(f"{instance!r} is not of the format {name!r}")


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and _has_match(pattern, instance) is False:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if _has_match(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    others = [name for name in instance if name not in known]
    # One that a pattern might have covered is given the benefit of the doubt.
    extras = [name for name in others if all(_has_match(pattern, name) is False for pattern in patterns)]
    if validator.is_type(allowed, "object"):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and extras:
        unexpected = f"{', '.join(map(repr, extras))} {'was' if len(extras) == 1 else 'were'} unexpected"
        yield ValidationError(f"Additional properties are not allowed ({unexpected})")
