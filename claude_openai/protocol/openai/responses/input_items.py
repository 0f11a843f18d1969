"""The list of the input items of a stored response: the form of its items, and its pages."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from claude_openai.protocol.wire.bad_request import wrong_value

__all__ = ["MAX_LISTED", "ORDERS", "input_item_list"]

MAX_LISTED: Final = 100
DEFAULT_LISTED: Final = 20
ORDERS: Final = ("asc", "desc")


def input_item_list(response_id: str, items: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the items.

    Args:
        response_id: the id of the response.
        items: its items in their order.
        query: `order`, `limit`, `after` and `before` of the request.

    Raises:
        BadRequest: a value of the query is invalid, or names no item.
    """
    order = query.get("order", "desc")
    if order not in ORDERS:
        raise wrong_value("order", "'asc' or 'desc'", order)
    listed = [_with_id(item, response_id, index) for index, item in enumerate(items)]
    if order == "desc":
        listed.reverse()
    names = [item["id"] for item in listed]
    begin = _place(names, query, "after") + 1 if "after" in query else 0
    end = _place(names, query, "before") if "before" in query else len(listed)
    size = _limit(query.get("limit"))
    # The page that ends before `before` is the last one of those items, if nothing says where it begins.
    is_backward = "before" in query and "after" not in query
    page = listed[max(begin, end - size) : end] if is_backward else listed[begin : min(end, begin + size)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(page) < end - begin,
    }


def _limit(value: str | None) -> int:
    if value is None:
        return DEFAULT_LISTED
    # A long row of digits is not converted.
    limit = int(value) if value.isascii() and value.isdecimal() and len(value) <= len(str(MAX_LISTED)) else 0
    if not 1 <= limit <= MAX_LISTED:
        raise wrong_value("limit", f"a whole number from 1 to {MAX_LISTED}", value)
    return limit


def _place(names: Sequence[str], query: Mapping[str, str], key: str) -> int:
    if query[key] not in names:
        raise wrong_value(key, "the id of an item of the list", query[key])
    return names.index(query[key])


def _with_id(item: Mapping[str, Any], response_id: str, index: int) -> dict[str, Any]:
    """Return an item in the form of OpenAI's lists, in which each has a type and an id, and a text is a part."""
    kind = item.get("type") or "message"
    name = item.get("id") or f"{'msg' if kind == 'message' else 'item'}_{response_id.removeprefix('resp_')}_in{index}"
    listed = {**item, "id": name, "type": kind, "status": item.get("status") or "completed"}
    content = item.get("content")
    if kind == "message" and isinstance(content, str):
        if item.get("role") == "assistant":
            listed["content"] = [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
        else:
            listed["content"] = [{"type": "input_text", "text": content}]
    return listed
