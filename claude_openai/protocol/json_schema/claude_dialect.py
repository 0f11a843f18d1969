"""Rewrites a JSON Schema of any draft for structured output, so that Claude Code and Claude's API accept it.

Claude Code compiles a schema strictly, by draft 7; if it cannot compile it, it silently drops structured output.
Claude's API requires a schema that is valid by draft 2020-12, without alternatives at the top. So the schema is
rewritten with the keywords that both know: referenced schemas are moved to `$defs`, and keywords that cannot be
expressed become text in a `description`.

Invariant: every value that is valid under the client's schema is valid under the rewritten one. The answer is validated
against the client's own schema at the end. Imported for the first schema, because importing jsonschema takes a tenth of
a second.
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
_SAID_ANYWAY: Final = frozenset(
    {"title", "description", "default", "examples", "$comment", "exclusiveMinimum", "exclusiveMaximum"}
)
_PLAIN: Final = frozenset(
    {
        *("type", "enum", "const", "required"),
        *("minimum", "maximum", "multipleOf", "minLength", "maxLength"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
# By the keywords beside which each means something else, so that all of them become words.
_ONE: Final[Mapping[str, tuple[str, ...]]] = {
    "items": ("prefixItems",),
    "additionalProperties": ("patternProperties",),
    "contains": ("minContains", "maxContains"),
    "propertyNames": (),
}
# Names and places: they say nothing of a value.
_SILENT: Final = frozenset(
    {
        *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"),
        *("$defs", "definitions", "components"),
    }
)
_NOTHING_MORE: Final = frozenset({"$ref", "type", "title", "description", *_SILENT})
_ANYTHING: Final[Mapping[str, Any]] = {}
MAX_WORDS_CHARS: Final = 500
SHOWN_CHARS_AT_TOP: Final = 4000
# Claude Code's own bound.
MAX_CLAUDE_VALUES: Final = 100_000
# Of a budget, for each schema that is said anew.
ANEW_STEPS: Final = 10
# Of all schemas and adapted ones that are kept.
KEPT_DIALECT_CHARS: Final = 4 * 1024 * 1024


class CannotBeTranslated(Exception):
    """The schema cannot be rewritten; the text continues a sentence that begins with its path."""


def to_claude_schema(schema: str, document: Document, budget: Budget) -> str:
    """Rewrite a schema of objects for Claude Code, as JSON.

    Results are cached, and cost the same steps again, so that the outcome does not depend on earlier requests.

    Args:
        schema: the client's, as JSON.
        document: the same, read.
        budget: of the request.

    Raises:
        CannotBeAdapted: it refers to itself without end or to what is no schema, or it is too large.
        TooMuchWork: of the budget.
    """
    known = _kept.get(schema)
    if known is None:
        before = budget.spent
        adapted = _adapted(document, budget)
        _kept.put(schema, (adapted, budget.spent - before), len(schema) + len(adapted))
        return adapted
    budget.spend(known[1])
    return known[0]


_kept: Final[Kept[tuple[str, int]]] = Kept(KEPT_DIALECT_CHARS)


def _adapted(document: Document, budget: Budget) -> str:
    try:
        adapted = _Adapter(document, budget).top()
        # What is left of a schema is the same in both drafts, and this one looks into `$defs`.
        check_schema(adapted, draft_of({}), budget)
        _with_floats(adapted)
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
    if _count(adapted) > MAX_CLAUDE_VALUES:
        raise CannotBeTranslated(f"is too large: Claude Code accepts {MAX_CLAUDE_VALUES} values. Send a smaller one.")
    return json.dumps(adapted, separators=(",", ":"))


class _Said(NamedTuple):
    """A rewritten schema; `whole` if nothing of it was lost."""

    schema: Any
    whole: bool


@dataclass(slots=True)
class _Saying:
    """A schema while it is rewritten: kept keywords, keywords that become text, and whether nothing was lost."""

    said: dict[str, Any] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)
    whole: bool = True

    def say(self, keyword: str, part: _Said) -> None:
        self.said[keyword] = part.schema
        self.whole = self.whole and part.whole


_Way: TypeAlias = Callable[[_Saying, str, Mapping[str, Any], Resolver], None]


class _Adapter:
    """Rewrites one whole schema."""

    def __init__(self, document: Document, budget: Budget) -> None:
        self._budget = budget
        self._top = document.top
        self._definitions = Definitions(document, budget)
        self._ways: Mapping[str, _Way] = {
            "$ref": self._say_reference,
            "properties": self._say_properties,
            **dict.fromkeys(_ONE, self._say_one),
            **dict.fromkeys(ALTERNATIVES, self._say_alternatives),
            **dict.fromkeys(("not", "if"), self._say_condition),
        }

    def top(self) -> dict[str, Any]:
        """The schema.

        Raises:
            CannotBeResolved, InvalidSchema, Endless, TooMuchWork: see `Definitions`.
        """
        schema, resolver = self._unfolded(self._top)
        alternatives = {keyword: schema[keyword] for keyword in ALTERNATIVES if keyword in schema}
        rest = {keyword: value for keyword, value in schema.items() if keyword not in alternatives}
        if schema.get("type") == "object" and not alternatives:
            self._definitions.stands_at_top(schema)
        saying = _Saying(words=alternatives)
        self._say_all(saying, rest, resolver)
        adapted = {**self._with_words(saying, resolver, SHOWN_CHARS_AT_TOP), "type": "object"}
        said = {}
        while self._definitions.waiting:
            name, place = self._definitions.waiting.pop()
            said[name] = self._anew(place).schema
        return {**adapted, "$defs": said} if said else adapted

    def _unfolded(self, place: Place) -> Place:
        """What the top refers to, if that is all it says: Claude is to see there which parts an answer has."""
        self._definitions.check_end(place)
        while "$ref" in place.schema and (place.schema.keys() <= _NOTHING_MORE or self._definitions.reference_alone):
            target = self._definitions.target(place.schema["$ref"], place.resolver)
            if not isinstance(target.schema, dict):
                break
            place = target
        return place

    def _anew(self, place: Place) -> _Said:
        schema, resolver = place
        self._budget.spend(ANEW_STEPS)
        if not isinstance(schema, dict):
            return _Said(schema, whole=True)
        self._definitions.check_end(place)
        saying = _Saying()
        self._say_all(saying, schema, resolver)
        said = self._with_words(saying, resolver, MAX_WORDS_CHARS)
        return _Said(said, saying.whole and not saying.words)

    def _within(self, schema: Any, resolver: Resolver) -> _Said:
        return self._anew(self._definitions.inside(schema, resolver))

    def _say_all(self, saying: _Saying, schema: Mapping[str, Any], resolver: Resolver) -> None:
        self._budget.spend(len(schema.get("enum", ())))
        plain = _in_plain_terms(schema, reference_alone=self._definitions.reference_alone)
        for keyword, value in plain.items():
            if keyword in _SAID_ANYWAY or (keyword in _PLAIN and self._definitions.knows(keyword)):
                saying.said[keyword] = value
            elif keyword in ("then", "else") or keyword in _SILENT:
                continue
            elif keyword in self._ways and self._definitions.knows(keyword):
                self._ways[keyword](saying, keyword, plain, resolver)
            else:
                saying.words[keyword] = value

    def _say_reference(self, saying: _Saying, keyword: str, plain: Mapping[str, Any], resolver: Resolver) -> None:
        saying.say(keyword, _Said(self._definitions.name(plain[keyword], resolver), whole=False))

    def _say_properties(self, saying: _Saying, keyword: str, plain: Mapping[str, Any], resolver: Resolver) -> None:
        parts = {name: self._within(each, resolver) for name, each in plain[keyword].items()}
        said = {name: part.schema for name, part in parts.items()}
        saying.say(keyword, _Said(said, all(part.whole for part in parts.values())))

    def _say_one(self, saying: _Saying, keyword: str, plain: Mapping[str, Any], resolver: Resolver) -> None:
        if isinstance(plain[keyword], dict | bool) and not any(other in plain for other in _ONE[keyword]):
            saying.say(keyword, self._within(plain[keyword], resolver))
        else:
            saying.words[keyword] = plain[keyword]

    def _say_alternatives(self, saying: _Saying, keyword: str, plain: Mapping[str, Any], resolver: Resolver) -> None:
        parts = [self._within(each, resolver) for each in plain[keyword]]
        said = _Said([part.schema for part in parts], all(part.whole for part in parts))
        if keyword != "oneOf" or said.whole:
            saying.say(keyword, said)
        elif "anyOf" not in plain:  # a weakened branch may match where it should not, so `oneOf` becomes `anyOf`
            saying.say("anyOf", said)
        else:
            saying.words[keyword] = plain[keyword]

    def _say_condition(self, saying: _Saying, keyword: str, plain: Mapping[str, Any], resolver: Resolver) -> None:
        # Negating a weakened schema would reject valid values, so it becomes text.
        condition = self._within(plain[keyword], resolver)
        for name in (keyword, *(("then", "else") if keyword == "if" else ())):
            if name in plain and condition.whole:
                saying.say(name, condition if name == keyword else self._within(plain[name], resolver))
            elif name in plain:
                saying.words[name] = plain[name]

    def _with_words(self, saying: _Saying, resolver: Resolver, shown: int) -> dict[str, Any]:
        if not saying.words:
            return saying.said
        words = json.dumps(self._renamed(saying.words, resolver), separators=(",", ":"))[:shown]
        description = f"{saying.said.get('description', '')} (JSON Schema: {words})".strip()
        return {**saying.said, "description": description}

    def _renamed(self, value: Any, resolver: Resolver) -> Any:
        """Words whose references lead to what is said."""
        self._budget.spend()
        if isinstance(value, list):
            return [self._renamed(each, resolver) for each in value]
        if not isinstance(value, dict):
            return value
        renamed = {name: self._renamed(each, resolver) for name, each in value.items()}
        if isinstance(value.get("$ref"), str):
            renamed["$ref"] = self._definitions.name(value["$ref"], resolver)
        return renamed


def _in_plain_terms(schema: Mapping[str, Any], *, reference_alone: bool) -> dict[str, Any]:
    """The same, without what only one draft knows and what strict compilers take for a mistake."""
    plain = dict(schema)
    if "$ref" in plain and reference_alone:
        plain = {keyword: plain[keyword] for keyword in ("$ref", "title", "description") if keyword in plain}
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        # In draft 4 it says whether the other one is.
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
    """The value as JavaScript has it: with one kind of numbers, and one zero."""
    if isinstance(value, list):
        return [_with_floats(each) for each in value]
    if isinstance(value, dict):
        return {name: _with_floats(each) for name, each in value.items()}
    return value if isinstance(value, bool) or not isinstance(value, int | float) else float(value) + 0.0


def _count(value: Any) -> int:
    """The values in a value, itself included."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        count += 1
        waiting.extend(each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
    return count
