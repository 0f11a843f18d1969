"""Rewrites a JSON Schema of any draft for structured output, so that Claude Code and Claude's API accept it.

Claude Code compiles a schema strictly, by draft 7; if it cannot compile it, it silently drops structured output.
Claude's API requires a schema that is valid by draft 2020-12, without alternatives at the top. So the schema is
rewritten with the keywords that both know: referenced schemas are moved to `$defs`, and keywords that cannot be
expressed become text in a `description`.

Invariant: every value that is valid under the client's schema is valid under the rewritten one. The answer is validated
against the client's own schema at the end. This module is imported at the first schema, because importing jsonschema
takes a tenth of a second.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from claude_openai.protocol.json_schema.document import CannotBeResolved, Document, Place, Resolver
from claude_openai.protocol.json_schema.drafts import draft_of
from claude_openai.protocol.json_schema.metaschema import InvalidSchema, check_schema
from claude_openai.protocol.json_schema.references import Definitions, Endless
from claude_openai.protocol.json_schema.tool_dialect import ALTERNATIVES
from claude_openai.protocol.limits.bounded_cache import Kept
from claude_openai.protocol.limits.budget import Budget

__all__ = ["CannotBeTranslated", "to_claude_schema"]

# Drafts 3 and 4 have no numeric bounds of this name; they are derived from other keywords.
_ALWAYS_KEPT: Final = frozenset(
    {"title", "description", "default", "examples", "$comment", "exclusiveMinimum", "exclusiveMaximum"}
)
_PLAIN: Final = frozenset(
    {
        *("type", "enum", "const", "required"),
        *("minimum", "maximum", "multipleOf", "minLength", "maxLength"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
# Keywords with one schema as their value -> keywords that change their meaning: beside one of these they become text.
_SINGLE_SCHEMA: Final[Mapping[str, tuple[str, ...]]] = {
    "items": ("prefixItems",),
    "additionalProperties": ("patternProperties",),
    "contains": ("minContains", "maxContains"),
    "propertyNames": (),
}
# Identifiers and places of subschemas, which do not constrain a value.
_IDENTIFIERS: Final = frozenset(
    {
        *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"),
        *("$defs", "definitions", "components"),
    }
)
_REFERENCE_ONLY: Final = frozenset({"$ref", "type", "title", "description", *_IDENTIFIERS})
_ANYTHING: Final[Mapping[str, Any]] = {}
MAX_WORDS_CHARS: Final = 500
SHOWN_CHARS_AT_TOP: Final = 4000
# The limit of Claude Code.
MAX_CLAUDE_VALUES: Final = 100_000
# Steps of the budget for each subschema that is rewritten.
REWRITE_STEPS: Final = 10
# Total characters of the cached schemas and their rewritten forms.
KEPT_DIALECT_CHARS: Final = 4 * 1024 * 1024


class CannotBeTranslated(Exception):
    """The schema cannot be rewritten; the text continues a sentence that begins with its path."""


def to_claude_schema(schema: str, document: Document, budget: Budget) -> str:
    """Rewrite a schema of objects for Claude Code, as JSON.

    Results are cached, and cost the same steps again, so that the outcome does not depend on earlier requests.

    Args:
        schema: the client's schema, as JSON.
        document: the same schema, parsed.
        budget: the budget of the request.

    Raises:
        CannotBeTranslated: the schema refers to itself without end, or to a place that is not a schema, or is too
            large.
        TooMuchWork: the budget is exhausted.
    """
    known = _kept.get(schema)
    if known is None:
        before = budget.spent
        rewritten = _rewritten_json(document, budget)
        _kept.put(schema, (rewritten, budget.spent - before), len(schema) + len(rewritten))
        return rewritten
    budget.spend(known[1])
    return known[0]


_kept: Final[Kept[tuple[str, int]]] = Kept(KEPT_DIALECT_CHARS)


def _rewritten_json(document: Document, budget: Budget) -> str:
    try:
        rewritten = _Rewriter(document, budget).top()
        # The remaining keywords mean the same in both drafts, and the check by 2020-12 covers `$defs`.
        check_schema(rewritten, draft_of({}), budget)
        _with_floats(rewritten)
    except CannotBeResolved as error:
        raise CannotBeTranslated(f"cannot be used: {error}. Include the referenced schema.") from None
    except Endless:
        message = "refers to itself without end: a '$ref' leads back to its own schema. Remove it."
        raise CannotBeTranslated(message) from None
    except RecursionError:
        raise CannotBeTranslated("is nested too deeply. Send a flatter one.") from None
    except InvalidSchema as error:
        shown = str(error)[:MAX_WORDS_CHARS]
        raise CannotBeTranslated(f"cannot be used: {shown}. Send one that is valid by draft 2020-12.") from None
    except OverflowError:
        raise CannotBeTranslated("contains a number that is too large. Send a smaller one.") from None
    if _count(rewritten) > MAX_CLAUDE_VALUES:
        raise CannotBeTranslated(f"is too large: Claude Code accepts {MAX_CLAUDE_VALUES} values. Send a smaller one.")
    return json.dumps(rewritten, separators=(",", ":"))


class _Rewritten(NamedTuple):
    """A rewritten schema; `whole` if it accepts the same values as the original."""

    schema: Any
    whole: bool


@dataclass(slots=True)
class _Rewriting:
    """A schema while it is rewritten: kept keywords, keywords that become text, and whether nothing was lost."""

    kept: dict[str, Any] = field(default_factory=dict)
    as_text: dict[str, Any] = field(default_factory=dict)
    whole: bool = True

    def keep(self, keyword: str, part: _Rewritten) -> None:
        self.kept[keyword] = part.schema
        self.whole = self.whole and part.whole


_KeywordRule: TypeAlias = Callable[[_Rewriting, str, Mapping[str, Any], Resolver], None]


class _Rewriter:
    """Rewrites one whole schema."""

    def __init__(self, document: Document, budget: Budget) -> None:
        self._budget = budget
        self._top = document.top
        self._definitions = Definitions(document, budget)
        self._rules: Mapping[str, _KeywordRule] = {
            "$ref": self._rewrite_reference,
            "properties": self._rewrite_properties,
            **dict.fromkeys(_SINGLE_SCHEMA, self._rewrite_one),
            **dict.fromkeys(ALTERNATIVES, self._rewrite_alternatives),
            **dict.fromkeys(("not", "if"), self._rewrite_condition),
        }

    def top(self) -> dict[str, Any]:
        """Return the rewritten schema.

        Raises:
            CannotBeResolved, InvalidSchema, Endless, TooMuchWork: see `Definitions`.
        """
        schema, resolver = self._unfolded(self._top)
        alternatives = {keyword: schema[keyword] for keyword in ALTERNATIVES if keyword in schema}
        rest = {keyword: value for keyword, value in schema.items() if keyword not in alternatives}
        if schema.get("type") == "object" and not alternatives:
            self._definitions.stands_at_top(schema)
        result = _Rewriting(as_text=alternatives)
        self._rewrite_keywords(result, rest, resolver)
        rewritten = {**self._with_text(result, resolver, SHOWN_CHARS_AT_TOP), "type": "object"}
        definitions = {}
        while self._definitions.waiting:
            name, place = self._definitions.waiting.pop()
            definitions[name] = self._rewrite(place).schema
        return {**rewritten, "$defs": definitions} if definitions else rewritten

    def _unfolded(self, place: Place) -> Place:
        """Return the target of a top that only consists of a reference, so that Claude sees the properties there."""
        self._definitions.check_end(place)
        while "$ref" in place.schema and (place.schema.keys() <= _REFERENCE_ONLY or self._definitions.reference_alone):
            target = self._definitions.target(place.schema["$ref"], place.resolver)
            if not isinstance(target.schema, dict):
                break
            place = target
        return place

    def _rewrite(self, place: Place) -> _Rewritten:
        schema, resolver = place
        self._budget.spend(REWRITE_STEPS)
        if not isinstance(schema, dict):
            return _Rewritten(schema, whole=True)
        self._definitions.check_end(place)
        result = _Rewriting()
        self._rewrite_keywords(result, schema, resolver)
        rewritten = self._with_text(result, resolver, MAX_WORDS_CHARS)
        return _Rewritten(rewritten, result.whole and not result.as_text)

    def _rewrite_inside(self, schema: Any, resolver: Resolver) -> _Rewritten:
        return self._rewrite(self._definitions.inside(schema, resolver))

    def _rewrite_keywords(self, result: _Rewriting, schema: Mapping[str, Any], resolver: Resolver) -> None:
        self._budget.spend(len(schema.get("enum", ())))
        plain = _normalized(schema, reference_alone=self._definitions.reference_alone)
        for keyword, value in plain.items():
            if keyword in _ALWAYS_KEPT or (keyword in _PLAIN and self._definitions.knows(keyword)):
                result.kept[keyword] = value
            elif keyword in ("then", "else") or keyword in _IDENTIFIERS:
                continue
            elif keyword in self._rules and self._definitions.knows(keyword):
                self._rules[keyword](result, keyword, plain, resolver)
            else:
                result.as_text[keyword] = value

    def _rewrite_reference(
        self, result: _Rewriting, keyword: str, plain: Mapping[str, Any], resolver: Resolver
    ) -> None:
        result.keep(keyword, _Rewritten(self._definitions.name(plain[keyword], resolver), whole=False))

    def _rewrite_properties(
        self, result: _Rewriting, keyword: str, plain: Mapping[str, Any], resolver: Resolver
    ) -> None:
        parts = {name: self._rewrite_inside(each, resolver) for name, each in plain[keyword].items()}
        schemas = {name: part.schema for name, part in parts.items()}
        result.keep(keyword, _Rewritten(schemas, all(part.whole for part in parts.values())))

    def _rewrite_one(self, result: _Rewriting, keyword: str, plain: Mapping[str, Any], resolver: Resolver) -> None:
        if isinstance(plain[keyword], dict | bool) and not any(other in plain for other in _SINGLE_SCHEMA[keyword]):
            result.keep(keyword, self._rewrite_inside(plain[keyword], resolver))
        else:
            result.as_text[keyword] = plain[keyword]

    def _rewrite_alternatives(
        self, result: _Rewriting, keyword: str, plain: Mapping[str, Any], resolver: Resolver
    ) -> None:
        parts = [self._rewrite_inside(each, resolver) for each in plain[keyword]]
        rewritten = _Rewritten([part.schema for part in parts], all(part.whole for part in parts))
        if keyword != "oneOf" or rewritten.whole:
            result.keep(keyword, rewritten)
        elif "anyOf" not in plain:  # a weakened branch may match where it should not, so `oneOf` becomes `anyOf`
            result.keep("anyOf", rewritten)
        else:
            result.as_text[keyword] = plain[keyword]

    def _rewrite_condition(
        self, result: _Rewriting, keyword: str, plain: Mapping[str, Any], resolver: Resolver
    ) -> None:
        # Negating a weakened schema would reject valid values, so it becomes text.
        condition = self._rewrite_inside(plain[keyword], resolver)
        for name in (keyword, *(("then", "else") if keyword == "if" else ())):
            if name in plain and condition.whole:
                result.keep(name, condition if name == keyword else self._rewrite_inside(plain[name], resolver))
            elif name in plain:
                result.as_text[name] = plain[name]

    def _with_text(self, result: _Rewriting, resolver: Resolver, shown: int) -> dict[str, Any]:
        if not result.as_text:
            return result.kept
        words = json.dumps(self._renamed(result.as_text, resolver), separators=(",", ":"))[:shown]
        description = f"{result.kept.get('description', '')} (JSON Schema: {words})".strip()
        return {**result.kept, "description": description}

    def _renamed(self, value: Any, resolver: Resolver) -> Any:
        """Return keywords that become text, with references to the rewritten schemas."""
        self._budget.spend()
        if isinstance(value, list):
            return [self._renamed(each, resolver) for each in value]
        if not isinstance(value, dict):
            return value
        renamed = {name: self._renamed(each, resolver) for name, each in value.items()}
        if isinstance(value.get("$ref"), str):
            renamed["$ref"] = self._definitions.name(value["$ref"], resolver)
        return renamed


def _normalized(schema: Mapping[str, Any], *, reference_alone: bool) -> dict[str, Any]:
    """Return the schema without keywords of only one draft, and without forms that strict compilers reject."""
    plain = dict(schema)
    if "$ref" in plain and reference_alone:
        plain = {keyword: plain[keyword] for keyword in ("$ref", "title", "description") if keyword in plain}
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        # In draft 4 it is a boolean: whether `minimum` or `maximum` is exclusive.
        if isinstance(plain.get(exclusive), bool) and plain.pop(exclusive) and bound in plain:
            plain[exclusive] = plain.pop(bound)
    if isinstance(plain.get("enum"), list):
        plain["enum"] = list({_spelled(value): value for value in plain["enum"]}.values())
    if plain.get("enum") == []:  # no value is valid
        del plain["enum"]
        plain["not"] = _ANYTHING
    if "if" in plain and not {"then", "else"} & plain.keys():
        del plain["if"]
    return plain


def _spelled(value: Any) -> str:
    """Return a text that is the same for equal values only."""
    return json.dumps(_with_floats(value), sort_keys=True)


def _with_floats(value: Any) -> Any:
    """Return the value with its numbers as in JavaScript: all of them floats, and -0.0 as 0.0."""
    if isinstance(value, list):
        return [_with_floats(each) for each in value]
    if isinstance(value, dict):
        return {name: _with_floats(each) for name, each in value.items()}
    return value if isinstance(value, bool) or not isinstance(value, int | float) else float(value) + 0.0


def _count(value: Any) -> int:
    """Return the number of values in a value, itself included."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        count += 1
        waiting.extend(each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
    return count
