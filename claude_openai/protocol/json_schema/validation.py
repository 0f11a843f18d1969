"""Checks the JSON Schemas of tools and response formats, and validate values against them.

The draft is 2020-12 unless a schema names another. Schemas are untrusted: nothing is fetched (a reference to another
document is an error), and all work is bounded by a budget. Validators are cached by the text of the schema, because
clients send the same tools with every request. This module is imported at the first schema, because importing
jsonschema takes a tenth of a second.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema.exceptions import ValidationError

from claude_openai.protocol.json_schema.document import CannotBeResolved, Document
from claude_openai.protocol.json_schema.keywords import keywords_of
from claude_openai.protocol.json_schema.metaschema import InvalidSchema
from claude_openai.protocol.json_schema.validator import Plans, Validator
from claude_openai.protocol.limits.bounded_cache import Kept
from claude_openai.protocol.limits.budget import Budget, TooMuchWork

__all__ = ["ArgumentValidator", "UnusableSchema", "usable_schema"]

SHOWN_PROBLEMS: Final = 3
PROBLEM_CHARS: Final = 300
# Total characters of the cached schemas; they take ten times as much memory.
KEPT_CHARS: Final = 4 * 1024 * 1024
# Characters of a schema for each step of the budget.
SCHEMA_CHARS_A_STEP: Final = 20


class UnusableSchema(Exception):
    """The schema cannot be used; the text continues a sentence that begins with its path."""


def usable_schema(schema: str, budget: Budget) -> "ArgumentValidator":
    """Return the validator of a schema in JSON.

    A cached schema costs the same steps again, so that the outcome does not depend on earlier requests.

    Raises:
        UnusableSchema: the schema is invalid, has a reference that does not exist, or refers to itself without end.
        TooMuchWork: the budget is exhausted.
    """
    kept = _kept.get(schema)
    if kept is not None:
        budget.spend(kept.steps)
        return kept
    before = budget.spent
    try:
        validator = ArgumentValidator(schema, budget)
        list(validator.errors({}, budget))
    except InvalidSchema as error:
        raise UnusableSchema(f"is not a valid JSON Schema: {str(error)[:PROBLEM_CHARS]}.") from None
    except (CannotBeResolved, RecursionError) as error:
        message = f"cannot be used as a schema: {error}. Include the referenced schema."
        raise UnusableSchema(message) from None
    validator.steps = budget.spent - before
    _kept.put(schema, validator, len(schema))
    return validator


class ArgumentValidator:
    """Checks arguments against one schema.

    Args:
        schema: the schema, as JSON.
        budget: the budget for parsing and checking it.

    Attributes:
        document: the parsed schema.
        steps: the steps that checking the schema took.
        claude_schema: the schema rewritten for draft 2020-12, if that was needed, with the steps that it took; set by
            `openai/tools.py`.

    Raises:
        InvalidSchema, CannotBeResolved: the schema cannot be used.
        TooMuchWork: the budget is exhausted.
    """

    def __init__(self, schema: str, budget: Budget) -> None:
        budget.spend(len(schema) // SCHEMA_CHARS_A_STEP)
        self.document: Document = Document(json.loads(schema), budget)
        self._plans = Plans(self.document, keywords_of)
        self.steps = 0
        self.claude_schema: tuple[str, int] | None = None

    def errors(self, arguments: Mapping[str, Any], budget: Budget) -> Iterator[ValidationError]:
        """Yield the validation errors of the arguments.

        Raises:
            RecursionError: the schema refers to itself without end, or the arguments are nested too deeply.
            TooMuchWork: the budget is exhausted.
        """
        return Validator(self._plans, self.document.top, self.document.draft, budget).iter_errors(arguments)

    def problem(self, arguments: Mapping[str, Any], budget: Budget) -> str | None:
        """Return a message for Claude about invalid arguments, None if they are valid."""
        try:
            found = sorted(self.errors(arguments, budget), key=lambda error: error.json_path)
        except RecursionError:
            return "they are nested too deeply to be checked"
        except TooMuchWork as error:
            return f"checking them takes {error}"
        except (InvalidSchema, CannotBeResolved) as error:
            return f"they cannot be checked: {error}"
        shown = [
            f"{error.json_path[:PROBLEM_CHARS]}: {error.message[:PROBLEM_CHARS]}" for error in found[:SHOWN_PROBLEMS]
        ]
        return "; ".join(shown) or None


_kept: Final[Kept[ArgumentValidator]] = Kept(KEPT_CHARS)
