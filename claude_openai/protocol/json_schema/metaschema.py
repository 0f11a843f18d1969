"""Checks JSON Schemas against the metaschema of their draft, in linear time.

jsonschema needs 100 µs for each value of a schema, and quadratic time for some values. So each metaschema, which uses
few keywords, is compiled to functions.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from jsonschema_specifications import REGISTRY

from claude_openai.protocol.json_schema.drafts import Draft
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.limits.json_values import spelled
from claude_openai.protocol.limits.quoting import SHOWN_CHARS, shorten

__all__ = ["InvalidSchema", "check_schema"]

_Rule: TypeAlias = Callable[[Any, Budget], None]

# Keywords of a metaschema that are annotations, or that constrain patterns and URIs, which are not checked here.
_SILENT: Final = frozenset(
    {
        *("$schema", "$id", "id", "$vocabulary", "$dynamicAnchor", "$recursiveAnchor", "$defs", "definitions"),
        *("title", "description", "$comment", "default", "deprecated", "format"),
        *("type", "allOf"),  # handled in `_parts` and `_conjuncts`
    }
)


class InvalidSchema(Exception):
    """The schema is invalid by its metaschema. `steps` is the path to the invalid place, the last step first."""

    def __init__(self, problem: str, *steps: str | int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps = list(steps)

    def __str__(self) -> str:
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in reversed(self.steps))
        return f"{self.problem} (at ${path})"


def check_schema(schema: Any, draft: Draft, budget: Budget) -> None:
    """Check a schema, no deeper than `MAX_DEPTH`, against the metaschema of a draft.

    Raises:
        InvalidSchema: it is not valid.
        TooMuchWork: the budget is exhausted.
    """
    _rule_of(draft)(schema, budget)


@cache
def _rule_of(draft: Draft) -> _Rule:
    return _Compiler(draft).top


class _Compiler:
    """Compiles each schema within the metaschema of a draft to a function.

    Attributes:
        top: the function of the metaschema itself.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        uri = draft.validator.ID_OF(draft.validator.META_SCHEMA)
        self._root = REGISTRY.resolver(uri.rstrip("#")).lookup("#")
        self._rules: dict[int, _Rule] = {}
        self.top = self._rule(*_place(self._root))

    def _rule(self, schema: Any, resolver: Any) -> _Rule:
        if schema is True:
            return _anything
        if id(schema) not in self._rules:
            parts: list[_Rule] = []
            # Registered before it is complete, because metaschemas refer to themselves.
            self._rules[id(schema)] = _all(parts)
            parts.extend(self._parts(list(self._conjuncts(schema, resolver))))
        return self._rules[id(schema)]

    def _conjuncts(self, schema: Mapping[str, Any], resolver: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
        """Yield the schema and those of its `allOf`: in the latest drafts a metaschema consists of seven schemas."""
        if self._draft.reference_alone and "$ref" in schema:
            schema = {"$ref": schema["$ref"]}
        yield schema, resolver
        for each in schema.get("allOf", ()):
            found = resolver.lookup(each["$ref"]) if "$ref" in each else None
            yield from self._conjuncts(each, resolver) if found is None else self._conjuncts(*_place(found))

    def _parts(self, conjuncts: list[tuple[Mapping[str, Any], Any]]) -> Iterator[_Rule]:
        # The type comes first: for a value of the wrong type, its error is the clearest.
        types = {str(schema["type"]): (schema["type"], at) for schema, at in conjuncts if "type" in schema}
        yield from (self._type(*each) for each in types.values())
        properties: dict[str, list[_Rule]] = {}
        for schema, resolver in conjuncts:
            for keyword, value in schema.items():
                if keyword == "properties":
                    for name, each in value.items():
                        properties.setdefault(name, []).append(self._rule(each, resolver))
                elif keyword not in _SILENT:
                    yield self._part(keyword, value, schema, resolver)
        if properties:
            yield _properties({name: _all(rules) for name, rules in properties.items()})

    def _part(self, keyword: str, value: Any, schema: Mapping[str, Any], resolver: Any) -> _Rule:
        match keyword:
            case "$ref":
                return self._rule(*_place(resolver.lookup(value)))
            case "$dynamicRef" | "$recursiveRef":
                return self._rule(*_place(self._root))
            case "anyOf":
                return _any([self._rule(each, resolver) for each in value])
            case "items":
                return _each_item(self._rule(value, resolver))
            case "additionalProperties":
                return _others(frozenset(schema.get("properties", ())), self._rule(value, resolver))
            case "propertyNames":
                return _each_name(self._rule(value, resolver))
            case "minimum":
                return self._bound(value, exclusive=schema.get("exclusiveMinimum") is True)
            case "exclusiveMinimum":  # a boolean in draft 4: whether `minimum` is exclusive
                return _anything if value is True else self._bound(value, exclusive=True)
        return _SIMPLE[keyword](value)

    def _type(self, types: str | list[Any], resolver: Any) -> _Rule:
        draft = self._draft
        listed = [types] if isinstance(types, str) else types
        names = [name for name in listed if isinstance(name, str)]
        # In draft 3 the list of types may contain schemas.
        schemas = _any([self._rule(each, resolver) for each in listed if isinstance(each, dict)])

        def check(value: Any, budget: Budget) -> None:
            if any(draft.is_type(value, name) for name in names):
                return
            if len(names) < len(listed) and isinstance(value, dict):
                schemas(value, budget)
            else:
                raise InvalidSchema(f"{_shown(value)} is not of type {', '.join(map(repr, names))}")

        return check

    def _bound(self, low: float, *, exclusive: bool) -> _Rule:
        def check(value: Any, budget: Budget) -> None:
            if self._draft.is_type(value, "number") and (value < low or (exclusive and value == low)):
                raise InvalidSchema(f"{_shown(value)} is less than {'or equal to ' if exclusive else ''}{low}")

        return check


def _place(found: Any) -> tuple[Any, Any]:
    return found.contents, found.resolver


def _anything(value: Any, budget: Budget) -> None:
    """Accept every value."""


def _all(rules: list[_Rule]) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        budget.spend()
        for rule in rules:
            rule(value, budget)

    return check


def _any(rules: list[_Rule]) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        found: list[InvalidSchema] = []
        for rule in rules:
            try:
                return rule(value, budget)
            except InvalidSchema as error:
                found.append(error)
        # The alternative that fails at the deepest place is most likely the intended one.
        nearest = max(found, key=lambda error: len(error.steps))
        if nearest.steps:
            raise nearest
        raise InvalidSchema(f"{_shown(value)} is not valid under any of the given schemas")

    return check


def _each_item(rule: _Rule) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            _within(rule, item, index, budget)

    return check


def _properties(rules: Mapping[str, _Rule]) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            if name in rules:
                _within(rules[name], each, name, budget)

    return check


def _others(known: frozenset[str], rule: _Rule) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            if name not in known:
                _within(rule, each, name, budget)

    return check


def _each_name(rule: _Rule) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        for name in value if isinstance(value, dict) else ():
            rule(name, budget)

    return check


def _within(rule: _Rule, value: Any, step: str | int, budget: Budget) -> None:
    try:
        rule(value, budget)
    except InvalidSchema as error:
        error.steps.append(step[:SHOWN_CHARS] if isinstance(step, str) else step)
        raise


def _one_of(names: list[str]) -> _Rule:
    allowed = frozenset(names)

    def check(value: Any, budget: Budget) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidSchema(f"{_shown(value)} is not one of {names!r}")

    return check


def _min_items(count: int) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        if isinstance(value, list) and len(value) < count:
            raise InvalidSchema(f"{_shown(value)} has too few items")

    return check


def _unique_items(wanted: bool) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        if wanted and isinstance(value, list):
            texts = [spelled(item) for item in value]
            budget.spend(sum(map(len, texts)) // 10)
            if len(set(texts)) < len(texts):
                raise InvalidSchema(f"{_shown(value)} has non-unique elements")

    return check


def _pattern(pattern: str) -> _Rule:
    compiled = re.compile(pattern)

    def check(value: Any, budget: Budget) -> None:
        if isinstance(value, str) and compiled.search(value) is None:
            raise InvalidSchema(f"{_shown(value)} does not match {pattern!r}")

    return check


def _dependencies(dependencies: Mapping[str, str | list[str]]) -> _Rule:
    def check(value: Any, budget: Budget) -> None:
        for name, needed in dependencies.items() if isinstance(value, dict) else ():
            for each in [needed] if isinstance(needed, str) else needed:
                if name in value and each not in value:
                    raise InvalidSchema(f"{each!r} is a dependency of {name!r}")

    return check


_SIMPLE: Final[Mapping[str, Callable[[Any], _Rule]]] = {
    "enum": _one_of,
    "minItems": _min_items,
    "uniqueItems": _unique_items,
    "pattern": _pattern,
    "dependencies": _dependencies,
}


def _shown(value: Any) -> str:
    """Return the value, or its type if it may be large."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return shorten(value)
