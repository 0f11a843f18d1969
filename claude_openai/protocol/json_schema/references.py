"""Names the targets of the references of a JSON Schema, for one common `$defs`.

A reference may lead to any place of a schema, by a pointer, an anchor or an id. Each target gets a name and is queued
to be rewritten under it. Loops of references that stay at the same value are detected, because they have no end.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from claude_openai.protocol.json_schema.document import Document, Place, Resolver
from claude_openai.protocol.limits.budget import Budget

__all__ = ["Definitions", "Endless"]

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_SAME_VALUE: Final = ("not", "if", "then", "else")
_SAME_VALUE_EACH: Final = ("allOf", "anyOf", "oneOf")
_SAME_VALUE_NAMED: Final = ("dependentSchemas", "dependencies")
_FIRST: Final = {"then": "if", "else": "if"}
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Endless(Exception):
    """A schema refers to itself at the same value."""


class Definitions:
    """The targets of references, with the name of each in `$defs`.

    Args:
        document: the schema with the references.
        budget: the budget for resolving them.

    Attributes:
        waiting: queue of names and places that still have to be rewritten; the caller removes what it rewrites.
    """

    def __init__(self, document: Document, budget: Budget) -> None:
        self._budget = budget
        self._document = document
        self._draft = document.draft
        self.waiting: list[tuple[str, Place]] = []
        # Keyed by the `id()` of a subschema; the document keeps it alive.
        self._names: dict[int, str] = {}
        self._used: dict[str, int] = {}
        self._under_way: set[int] = set()
        self._ended: set[int] = set()

    @property
    def reference_alone(self) -> bool:
        """Return whether the keywords beside a reference are ignored in the schema's draft."""
        return self._draft.reference_alone

    def knows(self, keyword: str) -> bool:
        """Return whether the keyword is defined in the schema's draft."""
        return self._draft.knows(keyword)

    def stands_at_top(self, schema: Mapping[str, Any]) -> None:
        """Make references to this schema refer to the top."""
        self._names[id(schema)] = "#"

    def inside(self, schema: Any, resolver: Resolver) -> Place:
        """Return the place of a subschema, from the resolver of the schema around it."""
        return self._document.inside(schema, resolver)

    def target(self, reference: str, resolver: Resolver) -> Place:
        """Return the target of a reference; raises as `Document.target`."""
        return self._document.target(reference, resolver, self._budget)

    def name(self, reference: str, resolver: Resolver) -> str:
        """Return the reference to `$defs` that replaces this one; raises as `target` does."""
        place = self.target(reference, resolver)
        key = id(place.schema)  # works for booleans too, because True and False are singletons
        if key not in self._names:
            words = _ODD.sub("_", reference.rpartition("/")[2].strip("#")) or "whole"
            name = self._unused(words)
            self._names[key] = f"#/$defs/{name}"
            self.waiting.append((name, place))
        return self._names[key]

    def _unused(self, word: str) -> str:
        """Return the word, with a number appended if it is in use."""
        name = word
        while name in self._used:
            self._used[word] += 1
            name = f"{word}_{self._used[word]}"
        self._used[name] = 1
        return name

    def check_end(self, place: Place) -> None:
        """Follow the references and subschemas of a schema that apply to the same value.

        Raises:
            Endless: they lead back to the schema.
            CannotBeResolved, InvalidSchema, TooMuchWork: see `Document.target`.
        """
        key = id(place.schema)
        if not isinstance(place.schema, dict) or key in self._ended:
            return
        if key in self._under_way:
            raise Endless
        self._budget.spend()
        self._under_way.add(key)
        for inner in self._of_the_same_value(place.schema, place.resolver):
            self.check_end(inner)
        self._under_way.remove(key)
        self._ended.add(key)

    def _of_the_same_value(self, schema: Mapping[str, Any], resolver: Resolver) -> Iterator[Place]:
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
                yield self.inside(each, resolver)
