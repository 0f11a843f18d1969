"""A whole JSON Schema, checked: it is valid, its patterns compile, and all its references lead to valid schemas.

A reference may be a pointer, an anchor or an id, and may lead to a place that is not the value of a keyword.
`referencing` resolves it; nothing is fetched. That library is not made for untrusted schemas: it is called only with
values that are schemas, and all ids and anchors are collected once, because it would search the whole schema for each.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import lookup_recursive_ref

from claude_openai.protocol.json_schema.drafts import MAX_URI_CHARS, Draft, draft_of
from claude_openai.protocol.json_schema.metaschema import InvalidSchema, check_schema
from claude_openai.protocol.json_schema.patterns import pattern_problem
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.limits.json_values import MAX_DEPTH, is_deeper
from claude_openai.protocol.limits.quoting import shorten

__all__ = ["CannotBeResolved", "Document", "Place", "Resolver"]

Resolver: TypeAlias = Any  # the resolver of `referencing`, which is generic over the type of schemas

# Steps of a budget; a long pointer takes more.
LOOK_UP_STEPS: Final = 20
VISIT_STEPS: Final = 8
_REFERENCES: Final = ("$ref", "$dynamicRef")
_NAMES: Final = frozenset({"$id", "id", "$anchor", "$dynamicAnchor"})


class CannotBeResolved(Exception):
    """A reference does not lead to a schema."""


class Place(NamedTuple):
    """A schema within the document, and the resolver of the references in it."""

    schema: Any
    resolver: Resolver


class Document:
    """One schema with all its subschemas.

    Args:
        schema: the schema.
        budget: the budget for checking it.

    Attributes:
        draft: the draft of the schema.
        top: the place of the schema itself.

    Raises:
        InvalidSchema: the schema is not valid by its draft.
        CannotBeResolved: a reference does not lead to a schema.
        TooMuchWork: the budget is exhausted.
    """

    def __init__(self, schema: Mapping[str, Any], budget: Budget) -> None:
        if is_deeper(schema):
            raise InvalidSchema(f"it is nested more than {MAX_DEPTH} deep")
        self.draft: Draft = draft_of(schema)
        # Keyed by `id()`; the schema keeps its subschemas alive.
        self._drafts: dict[int, Draft] = {}
        self._targets: dict[str, Place] = {}
        self._has_names = False
        self._check(schema, self.draft, budget)
        resource = self.draft.specification.create_resource(schema)
        with _resolving("An '$id' in the schema is not a URI"):
            uri = resource.id() or ""
            registry = Registry().with_resource(uri, resource)
            if self._has_names:
                registry = registry.crawl()
        # With one resource all resolvers are equal.
        self._is_one = len(registry) == 1
        self.top: Place = Place(schema, registry.resolver(uri))
        self._follow_all(budget)

    def draft_at(self, schema: Any) -> Draft | None:
        """Return the draft by which this schema object is valid, None if it is not in the document."""
        return self._drafts.get(id(schema))

    def inside(self, schema: Any, resolver: Resolver) -> Place:
        """Return the place of a subschema, from the resolver of the schema around it."""
        if self._is_one:
            return Place(schema, resolver)
        with _resolving("An '$id' in the schema is not a URI"):
            return Place(schema, resolver.in_subresource(self.draft.specification.create_resource(schema)))

    def target(self, reference: str, resolver: Resolver, budget: Budget) -> Place:
        """Return the target of a reference.

        Raises:
            CannotBeResolved: the target does not exist or is not a schema.
            InvalidSchema: the target is an invalid schema outside of all keywords.
            TooMuchWork: the budget is exhausted.
        """
        budget.spend(LOOK_UP_STEPS)
        known = self._targets.get(reference)
        if known is not None:
            return known
        if len(reference) > MAX_URI_CHARS:
            raise CannotBeResolved(f"{shorten(reference)} is too long for a reference")
        budget.spend(min(reference.count("/"), MAX_DEPTH) ** 2)
        with _resolving(f"{shorten(reference)} does not exist in the schema"):
            found = resolver.lookup(reference)
        if not isinstance(found.contents, dict | bool):
            raise CannotBeResolved(f"{shorten(reference)} does not lead to a schema")
        if isinstance(found.contents, dict) and self.draft_at(found.contents) is None:
            self._check(found.contents, self.draft, budget)
        place = Place(found.contents, self.top.resolver if self._is_one else found.resolver)
        if self._is_one:
            self._targets[reference] = place
        return place

    def recursive_target(self, resolver: Resolver, budget: Budget) -> Place:
        """Return the target of a `$recursiveRef`.

        Raises:
            CannotBeResolved: the target does not exist or is not a schema.
            TooMuchWork: the budget is exhausted.
        """
        budget.spend(LOOK_UP_STEPS)
        with _resolving("'$recursiveRef' does not lead to a schema"):
            found = lookup_recursive_ref(resolver)
        return Place(found.contents, self.top.resolver if self._is_one else found.resolver)

    def _check(self, schema: Any, draft: Draft, budget: Budget) -> None:
        """Check a schema and its subschemas."""
        check_schema(schema, draft, budget)
        waiting = [schema]
        while waiting:
            within = waiting.pop()
            if not isinstance(within, dict):
                continue
            budget.spend(VISIT_STEPS)
            self._drafts[id(within)] = draft
            self._has_names = self._has_names or not _NAMES.isdisjoint(within)
            _check_patterns(within, budget)
            for inner in draft.specification.subresources_of(within):
                own = draft_of(inner, draft)
                if own is draft:
                    waiting.append(inner)
                else:
                    self._check(inner, own, budget)

    def _follow_all(self, budget: Budget) -> None:
        """Resolve every reference, because any may be needed for a value."""
        waiting, seen = [self.top], set()
        while waiting:
            schema, resolver = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            budget.spend(VISIT_STEPS)
            waiting += [
                self.target(schema[keyword], resolver, budget)
                for keyword in _REFERENCES
                if isinstance(schema.get(keyword), str)
            ]
            draft = self._drafts[id(schema)]
            waiting += [self.inside(each, resolver) for each in draft.specification.subresources_of(schema)]


def _check_patterns(schema: Mapping[str, Any], budget: Budget) -> None:
    for pattern in (schema.get("pattern"), *schema.get("patternProperties", ())):
        if isinstance(pattern, str):
            budget.spend(1 + len(pattern))
            problem = pattern_problem(pattern)
            if problem is not None:
                raise InvalidSchema(f"the pattern {shorten(pattern)} {problem}")


@contextmanager
def _resolving(problem: str) -> Iterator[None]:
    try:
        yield
    except (Unresolvable, ValueError, TypeError, LookupError, AttributeError):
        raise CannotBeResolved(problem) from None
    except BaseException as error:
        # `referencing` uses a Rust extension, which panics if the recursion is too deep. PanicException is derived from
        # BaseException: uncaught, it would end the server.
        if type(error).__name__ == "PanicException":
            raise RecursionError("maximum recursion depth exceeded") from None
        raise
