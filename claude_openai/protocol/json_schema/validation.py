"""JSON Schema for tools and forms: is a schema one that can be used, and does a value fit it.

Draft 2020-12 unless a schema names another. A schema is a stranger's program: it never makes this process fetch
anything (a reference to elsewhere is an error), and never holds it up for long: all work is counted. What was found of
a schema is kept by its text, since clients send the same tools with every request. Loaded when the first tools come,
since jsonschema takes a tenth of a second to import.
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
# Of all schemas that are kept, which take ten times as much memory as their text.
KEPT_CHARS: Final = 4 * 1024 * 1024
# So many characters of a schema make a step.
SCHEMA_CHARS_A_STEP: Final = 20


class UnusableSchema(Exception):
    """The schema cannot be used; the text continues a sentence that begins with its path."""


def usable_schema(schema: str, budget: Budget) -> "ArgumentValidator":
    """What checks values against a schema, given as JSON.

    A schema that is kept costs what it did when it was read, so that the answer does not depend on what came before.

    Raises:
        UnusableSchema: it is not valid, refers to what is not in it, or to itself without end.
        TooMuchWork: of the budget.
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
        schema: as JSON.
        budget: for reading it.

    Attributes:
        document: the schema.
        steps: the steps that its check took.
        said_anew: the schema by draft 2020-12, if it had to be said anew, and the steps of that; see `tools`.

    Raises:
        InvalidSchema, CannotBeResolved: the schema cannot be used.
        TooMuchWork: of the budget.
    """

    def __init__(self, schema: str, budget: Budget) -> None:
        budget.spend(len(schema) // SCHEMA_CHARS_A_STEP)
        self.document = Document(json.loads(schema), budget)
        self._plans = Plans(self.document, keywords_of)
        self.steps = 0
        self.claude_schema: tuple[str, int] | None = None

    def errors(self, arguments: Mapping[str, Any], budget: Budget) -> Iterator[ValidationError]:
        """What does not fit.

        Raises:
            RecursionError: the schema refers to itself without end, or the arguments are too deep.
            TooMuchWork: of the budget.
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
