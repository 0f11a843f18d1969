"""Reads the fields for web search of OpenAI's APIs: `web_search_options` of a chat, tools of the Responses API.

Claude Code's WebSearch takes a query and domains. The size of the context is guidance, by OpenAI's documentation, and
has no effect. A location and a search for pictures only cannot be passed on, and are refused.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from claude_openai.protocol.turn.claude_options import WebSearch
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.field_types import form, json_object, one_of

__all__ = ["SEARCH_TYPES", "check_allowed", "read_search_tool", "search_options"]

SEARCH_TYPES: Final = (
    *("web_search", "web_search_2025_08_26"),
    *("web_search_preview", "web_search_preview_2025_03_11"),
)
_SIZES: Final = ("low", "medium", "high")
_PLACES: Final = ("city", "country", "region", "timezone")
MAX_DOMAINS: Final = 100
_DOMAIN: Final = re.compile(r"[^\s/:]+\.[^\s/:]+(/\S*)?")


def check_allowed(param: str, *, may_search: bool) -> None:
    """Refuse a web search that the server does not allow.

    Raises:
        BadRequest: the server does not allow it.
    """
    if not may_search:
        raise unsupported_value(
            param,
            "Web search is not allowed here. The operator of the server allows it with --web-search, and for a named "
            "key with its own 'web_search'.",
        )


@form(
    {
        "type": "object",
        "properties": {
            "search_context_size": {"enum": [*_SIZES, None]},
            "user_location": {"type": ["object", "null"]},
        },
    }
)
def search_options(param: str, value: Any) -> None:
    json_object(param, value)
    if value.get("search_context_size") is not None:
        one_of(*_SIZES)(f"{param}.search_context_size", value["search_context_size"])
    location = value.get("user_location")
    if location is not None:
        _check_location(f"{param}.user_location", location)


def read_search_tool(item: Mapping[str, Any], where: str, max_uses: int | None) -> WebSearch:
    """Check a tool of one of `SEARCH_TYPES`.

    Args:
        item: the tool.
        where: its path.
        max_uses: the limit of the request.

    Raises:
        BadRequest: a field is malformed, or cannot be honoured.
    """
    search_options(where, item)
    kinds = item.get("search_content_types")
    if isinstance(kinds, list) and "text" not in kinds:
        raise unsupported_value(f"{where}.search_content_types", "Only 'text' is supported: searches find no pictures.")
    filters = item.get("filters")
    return WebSearch(() if filters is None else _domains(filters, f"{where}.filters"), max_uses)


def _check_location(where: str, location: Any) -> None:
    json_object(where, location)
    inner = location.get("approximate")
    places = location if inner is None else inner
    json_object(f"{where}.approximate", places)
    if any(places.get(place) for place in _PLACES):
        raise unsupported_value(
            where, "Claude Code's web search takes no location. Omit it, and name the place in a message."
        )


def _domains(filters: Any, where: str) -> tuple[str, ...]:
    json_object(where, filters)
    for key, value in filters.items():
        if key != "allowed_domains" and value is not None:
            raise unsupported_value(f"{where}.{key[:64]}", "The only supported filter is 'allowed_domains'.")
    domains = filters.get("allowed_domains")
    if domains is None:
        return ()
    place = f"{where}.allowed_domains"
    if not isinstance(domains, list):
        raise wrong_type(place, "an array of domains", domains)
    if not 0 < len(domains) <= MAX_DOMAINS:
        raise wrong_value(place, f"1 to {MAX_DOMAINS} domains")
    for index, domain in enumerate(domains):
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise wrong_value(f"{place}[{index}]", "a domain without a scheme, such as 'docs.python.org'", domain)
    return tuple(domains)
