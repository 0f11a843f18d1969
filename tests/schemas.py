"""Strategies of JSON Schemas as strangers write them: all drafts' keywords, references to any place, odd values."""

from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["NAMES", "VALUES", "Schema", "object_schemas", "objects"]

Schema = dict[str, Any]

NAMES: Final = st.sampled_from("abc")
VALUES: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([1.0, 0.5, 10**20, "a", "", "ab", "2020-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
_REFERENCES: Final = (
    *("#", "#/$defs/x", "#/definitions/y", "#/components/schemas/N", "#/$defs/t/prefixItems/0", "#there"),
    *("https://example.org/i", "#/properties/a", "#/properties/a/anyOf/0"),
)
_SMALL: Final = st.integers(0, 3)


def objects() -> st.SearchStrategy[dict[str, Any]]:
    """Values to be checked."""
    return st.dictionaries(NAMES, VALUES, max_size=3)


def object_schemas() -> st.SearchStrategy[Schema]:
    """Schemas of objects; most of them can be used, and what they refer to is there, or not."""
    schemas: st.SearchStrategy[Any] = st.recursive(st.booleans() | _of(st.booleans()), _of, max_leaves=5)
    return st.builds(_whole, *[schemas] * 6)


def _whole(top: Any, x: Any, y: Any, n: Any, there: Any, i: Any) -> Schema:
    return {
        **(top if isinstance(top, dict) else {}),
        "type": "object",
        "$defs": {
            "x": x,
            "t": {"prefixItems": [there]},
            "a": {"$anchor": "there", "allOf": [there]},
            "i": {"$id": "https://example.org/i", "allOf": [i]},
        },
        "definitions": {"y": y},
        "components": {"schemas": {"N": n}},
    }


def _of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    several = st.lists(inner, min_size=1, max_size=2)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(["object", "string", "integer", "number", "array", "null", ["string", "null"]]),
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "required": st.lists(NAMES, unique=True, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
        "enum": st.lists(VALUES, max_size=3),
        "const": VALUES,
        "pattern": st.sampled_from(["a", "^b"]),
        "format": st.sampled_from(["date", "email", "unknown"]),
        "$ref": st.sampled_from(_REFERENCES),
        "dependentRequired": st.just({"a": ["b"]}),
        "uniqueItems": st.booleans(),
        "description": st.just("d"),
        "nullable": st.booleans(),
        "x-own": VALUES,
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), several),
        **dict.fromkeys(("additionalProperties", "items", "contains", "propertyNames", "not"), inner),
        **dict.fromkeys(("if", "then", "else", "unevaluatedProperties"), inner),
        **dict.fromkeys(("minimum", "exclusiveMaximum", "minLength", "maxItems", "minContains"), _SMALL),
    }
    return st.sets(st.sampled_from(sorted(keywords)), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({keyword: keywords[keyword] for keyword in sorted(chosen)})
    )
