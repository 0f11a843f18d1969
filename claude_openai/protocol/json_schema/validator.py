"""Validates a value against a JSON Schema, and counts the steps.

The keywords are functions, jsonschema's among them (`keywords`), which call this validator as they would call
jsonschema's. jsonschema's own validator has no bound, needs 10 µs for each step, and loses replaced keywords where a
subschema names another draft.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from jsonschema.exceptions import ValidationError

from claude_openai.protocol.json_schema.document import Document, Place
from claude_openai.protocol.json_schema.drafts import Draft
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.limits.json_values import spelled

__all__ = ["Keyword", "Plans", "Validator"]

# Called with the validator of a schema, the keyword's value in it, the instance, and the schema.
Keyword: TypeAlias = Callable[..., Iterable[ValidationError] | None]

# Items, or characters of a message, for each step of the budget.
ITEMS: Final = 16
CHARS_A_STEP: Final = 64
ERROR_STEPS: Final = 10


class Plans:
    """The keywords of each schema of a document, collected once.

    Args:
        document: the document with the schemas.
        keywords_of: returns the keywords of a draft.
    """

    def __init__(self, document: Document, keywords_of: Callable[[Draft], Mapping[str, Keyword]]) -> None:
        self.document = document
        self._keywords_of = keywords_of
        # Keyed by `id()`; the document keeps its subschemas alive. Schemas outside of it are not cached.
        self._plans: dict[int, list[tuple[Keyword, Any, int]]] = {}
        self._spelled: dict[int, frozenset[str]] = {}

    def plan(self, schema: dict[str, Any], draft: Draft) -> list[tuple[Keyword, Any, int]]:
        """Return the keywords with their values, and the size of each value."""
        plan = self._plans.get(id(schema))
        if plan is None:
            keywords = self._keywords_of(draft)
            said = {"$ref": schema["$ref"]} if draft.reference_alone and "$ref" in schema else schema
            plan = [(keywords[name], value, _size(value)) for name, value in said.items() if name in keywords]
            if self.document.draft_at(schema) is not None:
                self._plans[id(schema)] = plan
        return plan

    def spelled(self, values: list[Any]) -> frozenset[str]:
        """Return the canonical texts of values in a schema of the document, which keeps the list alive."""
        if id(values) not in self._spelled:
            self._spelled[id(values)] = frozenset(map(spelled, values))
        return self._spelled[id(values)]


class Validator:
    """Validates values against one schema of a document.

    Attributes:
        schema: the schema, which may be a boolean.
        budget: the budget of the current validation.
    """

    __slots__ = ("_draft", "_place", "_plans", "budget", "schema")

    def __init__(self, plans: Plans, place: Place, draft: Draft, budget: Budget) -> None:
        self._plans = plans
        self._place = place
        self._draft = draft
        self.schema = place.schema
        self.budget = budget

    def at(self, schema: Any) -> "Validator":
        """Return the validator of a subschema."""
        return self._of(self._plans.document.inside(schema, self._place.resolver))

    evolve = at  # jsonschema's name

    def follow(self, reference: str) -> "Validator":
        """Return the validator of the target of a reference; raises as `Document.target`."""
        return self._of(self._plans.document.target(reference, self._place.resolver, self.budget))

    def follow_recursive(self) -> "Validator":
        """Return the validator of the target of a `$recursiveRef`; raises as `Document.recursive_target`."""
        return self._of(self._plans.document.recursive_target(self._place.resolver, self.budget))

    def iter_errors(self, instance: Any) -> Iterator[ValidationError]:
        """Yield the errors of an instance.

        Raises:
            TooMuchWork: the budget is exhausted.
            RecursionError: the schema refers to itself without end, or the instance is too deep.
        """
        spend = self.budget.spend
        spend()
        if not isinstance(self.schema, dict):
            if self.schema is False:
                yield ValidationError(f"False schema does not allow {instance!r}")
            return
        size = _size(instance)
        for check, value, its_size in self._plans.plan(self.schema, self._draft):
            spend(1 + (size + its_size) // ITEMS)
            for error in check(self, value, instance, self.schema) or ():
                spend(ERROR_STEPS + len(error.message) // CHARS_A_STEP)
                yield error

    def descend(
        self, instance: Any, schema: Any, path: str | int | None = None, schema_path: str | int | None = None
    ) -> Iterator[ValidationError]:
        """Yield the errors of a part of an instance, at `path` in it; raises as `iter_errors`."""
        for error in self.at(schema).iter_errors(instance):
            if path is not None:
                error.path.appendleft(path)
            yield error

    def is_valid(self, instance: Any) -> bool:
        """Return whether an instance is valid; raises as `iter_errors`."""
        return next(self.iter_errors(instance), None) is None

    def knows(self, keyword: str) -> bool:
        """Return whether a keyword is defined in the schema's draft."""
        return self._draft.knows(keyword)

    def is_type(self, instance: Any, name: str) -> bool:
        """Return whether an instance is of a type."""
        return self._draft.is_type(instance, name)

    def spell(self, value: Any) -> str:
        """Return a text that is the same for equal values only."""
        text = spelled(value)
        self.budget.spend(1 + len(text) // CHARS_A_STEP)
        return text

    def spell_all(self, values: list[Any]) -> frozenset[str]:
        """Return the canonical texts of values in the schema."""
        return self._plans.spelled(values)

    def _of(self, place: Place) -> "Validator":
        draft = self._plans.document.draft_at(place.schema) or self._draft
        return Validator(self._plans, place, draft, self.budget)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0
