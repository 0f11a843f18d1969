"""What the references of a JSON Schema lead to, under names for one common `$defs`.

A reference may lead to any place of a schema, by a pointer, an anchor or an id. Here each of these places gets a name,
and waits to be said under it. Knows which keywords apply to the same value as the schema that they stand in,
since a loop of references with no step into the value has no end. Fetches nothing.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import jsonschema
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.jsonschema import DRAFT3, DRAFT4, DRAFT6, DRAFT7, DRAFT202012, specification_with

__all__ = ["Definitions", "Endless", "NoSchema", "Resolver"]

Resolver: TypeAlias = Any  # referencing's own, which is generic over what a schema is

# Until draft 7 a reference is all there is: what stands beside it says nothing.
_REFERENCE_ALONE: Final = (DRAFT3, DRAFT4, DRAFT6, DRAFT7)
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_SAME_VALUE: Final = ("not", "if", "then", "else")
_SAME_VALUE_EACH: Final = ("allOf", "anyOf", "oneOf")
_SAME_VALUE_NAMED: Final = ("dependentSchemas", "dependencies")
_FIRST: Final = {"then": "if", "else": "if"}
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Endless(Exception):
    """A schema refers to itself without a step into the value."""


class NoSchema(Exception):
    """A reference leads to what is no schema."""


class Definitions:
    """The places that are referred to.

    Args:
        schema: the whole, whose references may lead anywhere in it.

    Attributes:
        resolver: of its top.
        waiting: names, with what is to be said under each and its resolver; whoever says it takes it out.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._specification = specification_with(str(schema.get("$schema", "")), default=DRAFT202012)
        self._draft = validator_for(schema, default=jsonschema.Draft202012Validator)
        top = self._specification.create_resource(schema)
        self.resolver: Resolver = Registry().resolver_with_root(top)
        self.waiting: list[tuple[str, Any, Resolver]] = []
        # By the identity of a place, which the schema keeps alive.
        self._names: dict[int, str] = {}
        self._checked = set(_places(top))
        self._used: dict[str, int] = {}
        self._ended: set[int] = set()

    @property
    def reference_alone(self) -> bool:
        """In the schema's draft a reference is all there is."""
        return self._specification in _REFERENCE_ALONE

    def knows(self, keyword: str) -> bool:
        """The keyword says something in the schema's draft."""
        return keyword in self._draft.VALIDATORS

    def stands_at_top(self, schema: Mapping[str, Any]) -> None:
        """What refers to this may refer to the top."""
        self._names[id(schema)] = "#"

    def inside(self, schema: Any, resolver: Resolver) -> Resolver:
        """The resolver of a schema within another one."""
        return resolver.in_subresource(self._specification.create_resource(schema))

    def target(self, reference: str, resolver: Resolver) -> tuple[Any, Resolver]:
        """What a reference leads to.

        Raises:
            Unresolvable: nothing.
            NoSchema: something else than a schema.
            SchemaError: a schema that is not valid, at a place that no draft knows.
        """
        found = resolver.lookup(reference)
        if not isinstance(found.contents, dict | bool):
            raise NoSchema(f"{reference!r} leads to what is no schema")
        if id(found.contents) not in self._checked:
            self._draft.check_schema(found.contents, format_checker=jsonschema.FormatChecker(formats=()))
            self._checked.add(id(found.contents))
        return found.contents, found.resolver

    def name(self, reference: str, resolver: Resolver) -> str:
        """The reference to use in its stead; raises as `target` does."""
        contents, place = self.target(reference, resolver)
        key = id(contents)  # of booleans too: there are two
        if key not in self._names:
            words = _ODD.sub("_", reference.rpartition("/")[2].strip("#")) or "whole"
            name = self._unused(words)
            self._names[key] = f"#/$defs/{name}"
            self.waiting.append((name, contents, place))
        return self._names[key]

    def _unused(self, word: str) -> str:
        """The word; with a number if it is used."""
        name = word
        while name in self._used:
            self._used[word] += 1
            name = f"{word}_{self._used[word]}"
        self._used[name] = 1
        return name

    def check_end(self, schema: Any, resolver: Resolver, under_way: tuple[int, ...] = ()) -> None:
        """Follow a schema along its references for as long as they are about the same value.

        Raises:
            Endless: they lead back to it.
            Unresolvable, NoSchema, SchemaError: as of `target`.
        """
        if not isinstance(schema, dict) or id(schema) in self._ended:
            return
        if id(schema) in under_way:
            raise Endless
        for inner, place in self._of_the_same_value(schema, resolver):
            self.check_end(inner, place, (*under_way, id(schema)))
        self._ended.add(id(schema))

    def _of_the_same_value(self, schema: Mapping[str, Any], resolver: Resolver) -> Iterator[tuple[Any, Resolver]]:
        for keyword in filter(self.knows, _REFERENCES):
            if keyword in schema:
                yield self.target(schema[keyword], resolver)
        if "$ref" in schema and self.reference_alone:
            return
        inner = [
            schema[keyword] for keyword in _SAME_VALUE if keyword in schema and self.knows(_FIRST.get(keyword, keyword))
        ]
        for keyword in filter(self.knows, _SAME_VALUE_EACH):
            inner += schema.get(keyword, ())
        for keyword in filter(self.knows, _SAME_VALUE_NAMED):
            inner += schema.get(keyword, {}).values()
        for each in inner:
            if isinstance(each, dict):
                yield each, self.inside(each, resolver)


def _places(top: Any) -> Iterator[int]:
    """The schemas within a schema at places that its draft knows: they were checked with it."""
    waiting = [top]
    while waiting:
        resource = waiting.pop()
        yield id(resource.contents)
        waiting.extend(resource.subresources())
